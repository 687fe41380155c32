"""System call numbers of Linux for the two architectures we filter, from `asm/unistd.h` of each."""

from __future__ import annotations

# Calls that came after 5.0 have one number everywhere; so have a few older ones by coincidence.
_COMMON = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "process_mrelease": 448,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_setattr": 469,
}

X86_64 = {
    **_COMMON,
    "socket": 41, "clone": 56, "kill": 62, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94,
    "ptrace": 101, "syslog": 103, "setpgid": 109, "setsid": 112, "rt_sigqueueinfo": 129, "utime": 132,
    "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165,
    "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175,
    "delete_module": 176, "quotactl": 179, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
    "lremovexattr": 198, "fremovexattr": 199, "tkill": 200, "lookup_dcookie": 212, "clock_settime": 227,
    "tgkill": 234, "utimes": 235, "mbind": 237, "set_mempolicy": 238, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "migrate_pages": 256, "fchownat": 260, "futimesat": 261, "fchmodat": 268,
    "unshare": 272, "vmsplice": 278, "move_pages": 279, "utimensat": 280, "rt_tgsigqueueinfo": 297,
    "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "adjtimex": 159,
    "modify_ldt": 154, "mknod": 133, "mknodat": 259, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
    "inotify_add_watch": 254, "fanotify_mark": 301, "setpriority": 141, "ioprio_set": 251, "prlimit64": 302,
    "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314,
}  # fmt: skip

AARCH64 = {
    **_COMMON,
    "socket": 198, "clone": 220, "kill": 129, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
    "ptrace": 117, "syslog": 116, "setpgid": 154, "setsid": 157, "rt_sigqueueinfo": 138, "personality": 92,
    "pivot_root": 41, "chroot": 51, "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224,
    "swapoff": 225, "reboot": 142, "init_module": 105, "delete_module": 106, "quotactl": 60, "setxattr": 5,
    "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "tkill": 130,
    "lookup_dcookie": 18, "clock_settime": 112, "tgkill": 131, "mbind": 235, "set_mempolicy": 237,
    "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219, "migrate_pages": 238, "unshare": 97,
    "vmsplice": 75, "move_pages": 239, "utimensat": 88, "rt_tgsigqueueinfo": 240, "perf_event_open": 241,
    "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268,
    "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294,
    "bpf": 280, "userfaultfd": 282, "adjtimex": 171, "mknodat": 33, "shmget": 194, "msgget": 186, "semget": 190,
    "mq_open": 180, "inotify_add_watch": 27, "fanotify_mark": 263, "setpriority": 140, "ioprio_set": 30,
    "prlimit64": 261, "sched_setaffinity": 122, "sched_setscheduler": 119, "sched_setparam": 118,
    "sched_setattr": 274,
}  # fmt: skip
