"""The Data Accelerator's core: registry, lifecycle, provider SDK and daemon."""
