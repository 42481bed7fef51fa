"""What front ends may ask for, as generators: they read the view, write goals and wait for outcomes."""
