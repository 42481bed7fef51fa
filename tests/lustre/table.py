"""What Lustre's programs answer, and where in its source (2.17.57) that is decided: the stand-ins are held to it, row by row.

The gist is a part of what the program says, in any case of letters.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One answer of a command in a situation. ``situation`` names a function of ``test_standins``."""

    command: str
    situation: str
    rc: int
    gist: str
    source: str


_MKFS = "lustre/utils/mkfs_lustre.c"
_LDISKFS = "lustre/utils/libmount_utils_ldiskfs.c"
_LIBZFS = "lustre/utils/libmount_utils_zfs.c"
_MOUNT = "lustre/utils/mount_lustre.c main"
_PARSE_LDD = "lustre/utils/mount_lustre.c parse_ldd"
_OBD = "lustre/utils/obd.c"

TABLE = [
    Row("mkfs.lustre", "no_kind_of_target", 22, "must set target type", f"{_MKFS} main"),
    Row("mkfs.lustre", "an_ost_that_is_an_mdt_too", 22, "exclusive", f"{_MKFS} main"),
    Row("mkfs.lustre", "an_ost_without_an_mgs", 22, "must specify --mgsnode", f"{_MKFS} main"),
    Row("mkfs.lustre", "a_target_without_a_filesystem", 22, "must specify --fsname", f"{_MKFS} main"),
    Row("mkfs.lustre", "a_filesystem_name_of_nine_letters", 22, "filesystem name must be 1-8 char", f"{_MKFS} parse_opts"),
    Row("mkfs.lustre", "a_filesystem_name_with_a_dot", 22, "not allowed in filesystem name", f"{_MKFS} parse_opts"),
    Row("mkfs.lustre", "an_index_that_is_no_number", 22, "wrong index", f"{_MKFS} parse_opts"),
    Row("mkfs.lustre", "a_mounted_device", 17, "is currently mounted", f"{_MKFS} main"),
    Row("mkfs.lustre", "a_formatted_device", 1, "previously formatted", f"{_MKFS} main, {_LDISKFS} ldiskfs_is_lustre"),
    Row("mkfs.lustre", "a_formatted_device_that_may_be_reformatted", 0, "", f"{_MKFS} main"),
    Row("mkfs.lustre", "a_dry_run", 0, "", f"{_MKFS} main"),
    Row("mkfs.lustre", "a_device_of_sixteen_mebibytes", 22, "too small", f"{_LDISKFS} ldiskfs_make_lustre"),
    # Lustre looks for the node once, and then runs mke2fs with a size; data-acc's issue 120 is what happens if it goes in between.
    Row("mkfs.lustre", "a_device_whose_node_has_gone", 0, "", f"{_LDISKFS} is_block, ldiskfs_make_lustre"),
    Row("mkfs.lustre", "a_dataset_without_a_pool", 22, "Missing pool in filesystem name", f"{_LIBZFS} zfs_prepare_lustre"),
    Row("mkfs.lustre", "a_dataset_without_an_index", 22, "The target index must be specified", f"{_LIBZFS} zfs_make_lustre"),
    Row("mount.lustre", "a_dataset_whose_pool_is_not_imported", 19, "has not been formatted with mkfs.lustre", _PARSE_LDD),
    Row("mount.lustre", "a_device_that_is_not_formatted", 19, "has not been formatted with mkfs.lustre", _PARSE_LDD),
    Row("mount.lustre", "a_mount_point_that_is_missing", 2, "inaccessible", _MOUNT),
    Row("mount.lustre", "a_new_target_while_no_mgs_runs", 5, "Is the MGS running?", "lustre/target/tgt_mount.c server_register_target"),
    Row("mount.lustre", "a_registered_target_while_no_mgs_runs", 0, "", "lustre/target/tgt_mount.c server_register_target"),
    Row("mount.lustre", "a_target_a_second_time", 17, "already mounted", "lustre/utils/mount_utils.c check_mtab_entry"),
    Row("mount.lustre", "a_target_at_a_second_place", 114, "already running", "lustre/target/tgt_mount.c server_fill_super"),
    Row("mount.lustre", "a_second_mgs_on_a_host", 114, "already running", "lustre/target/tgt_mount.c server_start_mgs"),
    Row("mount.lustre", "an_index_that_another_disk_has", 98, "index is already in use", "lustre/mgs/mgs_llog.c mgs_set_index"),
    Row("mount.lustre", "an_index_whose_logs_were_erased", 0, "", "lustre/mgs/mgs_llog.c mgs_set_index"),
    Row("mount.lustre", "a_client_where_no_ost_is_known", 123, "needs at least 1 OST", "lustre/mgs/mgs_llog.c, " + _MOUNT),
    Row("mount.lustre", "a_client_of_an_unknown_filesystem", 2, "Is the filesystem name correct?", _MOUNT),
    Row("mount.lustre", "a_client_while_no_mgs_runs", 5, "Is the MGS running?", _MOUNT),
    Row("mount.lustre", "a_client_while_the_mgs_is_cut_off", 110, "timed out", _MOUNT),
    Row("mount.lustre", "a_client_of_a_name_of_nine_letters", 22, "correct filesystem name", _MOUNT),
    Row("mount.lustre", "a_client_a_second_time", 17, "already mounted", "lustre/utils/mount_utils.c check_mtab_entry"),
    Row("mount.lustre", "a_client_with_an_unknown_host", 22, "Can't parse NID", "lustre/utils/mount_utils.c convert_hostnames"),
    Row("mount.lustre", "a_client_without_modules", 19, "Are the lustre modules loaded?", _MOUNT),
    Row("tunefs.lustre", "tuning_what_is_not_formatted", 19, "has not been formatted", f"{_MKFS} main"),
    Row("tunefs.lustre", "tuning_a_mounted_device", 17, "is currently mounted", f"{_MKFS} main"),
    Row("lctl", "erasing_logs_elsewhere_than_on_the_mgs", 19, "must be run on the MGS", f"{_OBD} get_mgs_device"),
    Row("lctl", "setting_permanently_elsewhere_than_on_the_mgs", 19, "must be run on the MGS", f"{_OBD} get_mgs_device"),
    Row("lctl", "an_unknown_parameter", 2, "param_path", "lustre/utils/lustre_param.c"),
    Row("lctl", "pinging_a_host_that_is_cut_off", 1, "failed to ping", "lustre/utils/portals.c jt_ptl_ping"),
    Row("lctl", "pinging_a_host_that_is_dead", 1, "failed to ping", "lustre/utils/portals.c jt_ptl_ping"),
    Row("lctl", "nids_without_lnet", 100, "Network is down", "lustre/utils/portals.c jt_ptl_list_nids"),
    Row("lctl", "which_nodemap_a_nid_in_a_range_is_in", 0, "site", f"{_OBD} jt_nodemap_test_nid"),
    Row("lctl", "which_nodemap_any_other_nid_is_in", 0, "default", "lustre/ptlrpc/nodemap_handler.c nodemap_test_nid"),
    Row("lctl", "which_nodemap_a_nid_is_in_where_no_server_runs", 1, "Invalid argument", f"{_OBD} nodemap_cmd"),
    Row("lctl", "adding_a_nodemap_that_there_is", 1, "already exists", f"{_OBD} jt_nodemap_new"),
    Row("lctl", "adding_a_nodemap_with_a_hyphen", 1, "Invalid argument", "lustre/ptlrpc/nodemap_handler.c nodemap_name_is_valid"),
    Row("lfs", "layouts_outside_of_lustre", 25, "Inappropriate ioctl", "lustre/utils/lfs.c"),
    Row("umount", "unmounting_what_is_in_use", 32, "busy", "umount(2), which Lustre does not change"),
]
