# The table of mounts with Lustre's mounts as type lustre: those of clients, by their source, and of targets that were started.
BEGIN { while ((getline line < served) > 0) target[line] = 1 }
{
    for (mark = 7; $mark != "-"; mark++) ;
    client = $(mark + 1) == "ext4" && $(mark + 2) ~ /@.*:\//
    if (client || ($3 " " $5) in target) sub(" - " $(mark + 1) " ", " - lustre ")
    print
}
