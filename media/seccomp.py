"""A filter on system calls (seccomp-bpf): what is not on the list is refused with EPERM, and the decoder goes on.

No library: the filter is a few hundred instructions of classic BPF. Numbers are those of `asm/unistd_64.h` and
`asm-generic/unistd.h`; the format is in `linux/seccomp.h`, `linux/filter.h` and the kernel's
`Documentation/userspace-api/seccomp_filter.rst`.

Absent on purpose: sockets of any kind, starting programs or processes, signals and limits of other processes, tracing,
mounts and namespaces, io_uring, BPF, keys, modules, memory of other processes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_PR_GET_SECCOMP, _PR_SET_SECCOMP, _MODE_FILTER = 21, 22, 2
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x10000
_IOCTLS = (0x5450, 0x5451, 0x5401, 0x5413, 0x5421)
"""FIONCLEX, FIOCLEX, TCGETS, TIOCGWINSZ, FIONBIO: what opening a file, or asking whether it is a terminal, needs."""

# name:number on x86_64:number on aarch64
_ALLOWED = """
# Memory
mmap:9:222 munmap:11:215 mremap:25:216 mprotect:10:226 madvise:28:233 brk:12:214 mincore:27:232 msync:26:227
mlock:149:228 munlock:150:229 get_mempolicy:239:236 membarrier:324:283
# Files that are open
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70
preadv2:327:286 pwritev2:328:287 lseek:8:62 close:3:57 close_range:436:436 fstat:5:80 ftruncate:77:46
fallocate:285:47 fadvise64:221:223 fsync:74:82 fdatasync:75:83 flock:73:32 dup:32:23 dup2:33:- dup3:292:24
fcntl:72:25 pipe:22:- pipe2:293:59 sendfile:40:71 copy_file_range:326:285 getdents:78:- getdents64:217:61
fstatfs:138:44 fchmod:91:52 sync_file_range:277:84 readahead:187:213
# Files by name (Landlock says which)
open:2:- openat:257:56 stat:4:- lstat:6:- newfstatat:262:79 statx:332:291 access:21:- faccessat:269:48
faccessat2:439:439 readlink:89:- readlinkat:267:78 unlink:87:- unlinkat:263:35 rename:82:- renameat:264:38
renameat2:316:276 mkdir:83:- mkdirat:258:34 rmdir:84:- truncate:76:45 statfs:137:43 getcwd:79:17 chdir:80:49
umask:95:166 chmod:90:- fchmodat:268:53 utimensat:280:88
# Threads of its own
futex:202:98 set_robust_list:273:99 get_robust_list:274:100 rseq:334:293 set_tid_address:218:96 exit:60:93
exit_group:231:94 sched_yield:24:124 sched_getaffinity:204:123 sched_getparam:143:121
sched_getscheduler:145:120 sched_get_priority_max:146:125 sched_get_priority_min:147:126 getpriority:140:141
gettid:186:178 getpid:39:172 getppid:110:173 getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177
getresuid:118:148 getresgid:120:150 getgroups:115:158 getpgrp:111:- getpgid:121:155 getsid:124:156
wait4:61:260 waitid:247:95 restart_syscall:219:128 getcpu:309:168
# Signals
rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigtimedwait:128:137 rt_sigpending:127:136
rt_sigsuspend:130:133 sigaltstack:131:132 pause:34:- alarm:37:-
# Time and waiting
clock_gettime:228:113 clock_getres:229:114 clock_nanosleep:230:115 nanosleep:35:101 gettimeofday:96:169
time:201:- times:100:153 getitimer:36:102 setitimer:38:103 poll:7:- ppoll:271:73 select:23:- pselect6:270:72
epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:- epoll_pwait:281:22 eventfd2:290:19
timerfd_create:283:85 timerfd_settime:286:86 timerfd_gettime:287:87
# What it is and may
uname:63:160 sysinfo:99:179 getrusage:98:165 getrlimit:97:163 setrlimit:160:164
getrandom:318:278 prctl:157:167 arch_prctl:158:- capget:125:90
"""
# Allowed with some arguments only.
_CLONE, _CLONE3, _IOCTL, _KILL_CALL = (56, 220), (435, 435), (16, 29), (62, 129)
_TGKILL, _PRLIMIT = (234, 131), (302, 261)

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def supported() -> str | None:
    """None if the filter can be used here; else why not."""
    if platform.machine() not in _AUDIT_ARCH or struct.calcsize("P") != 8:
        return f"no list of system calls for {platform.machine()}"
    if _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        return "the kernel has no seccomp (CONFIG_SECCOMP_FILTER)"
    return None


def mode() -> int:
    """This process's: 0 none, 2 filtered."""
    return int(_libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0))


def restrict() -> bool:
    """Refuse, for good, every system call that is not on the list. Needs `no_new_privs`. False: there is no seccomp.

    Raises:
        OSError: the kernel has it and refused.
    """
    if supported() is not None:
        return False
    code = b"".join(program(platform.machine(), os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    given = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(given), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the system call filter cannot be set")
    return True


def program(machine: str, pid: int) -> list[bytes]:
    """The filter's instructions, for a process of this number."""
    column = list(_AUDIT_ARCH).index(machine)
    names = [line for line in _ALLOWED.splitlines() if not line.startswith("#")]
    numbers = [entry.split(":")[1 + column] for line in names for entry in line.split()]
    code = [
        _statement(_LOAD, _AT_ARCH),
        _jump(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
        _statement(_RETURN, _KILL),  # the other calling convention has other numbers
        _statement(_LOAD, _AT_NUMBER),
    ]
    if machine == "x86_64":
        code += [_jump(_ANY_BIT, _X32_BIT, 0, 1), _statement(_RETURN, _KILL)]
    for number in numbers:
        if number != "-":
            code += [_jump(_EQUAL, int(number), 0, 1), _statement(_RETURN, _ALLOW)]
    # glibc then makes its threads with `clone`, whose flags can be seen from here.
    code += [_jump(_EQUAL, _CLONE3[column], 0, 1), _statement(_RETURN, _ERRNO | errno.ENOSYS)]
    thread = _jump(_ANY_BIT, _CLONE_THREAD, 0, 1)
    code += _when(_CLONE[column], 0, [thread])
    code += _when(_IOCTL[column], 1, [_jump(_EQUAL, request, 0, 1) for request in _IOCTLS])
    for own in (_KILL_CALL, _TGKILL):
        code += _when(own[column], 0, [_jump(_EQUAL, pid, 0, 1)])
    code += _when(_PRLIMIT[column], 0, [_jump(_EQUAL, 0, 0, 1)])
    return [*code, _statement(_RETURN, _ERRNO | errno.EPERM)]


def _when(number: int, argument: int, tests: list[bytes]) -> list[bytes]:
    """For this call: allow it if one of the tests (each skips one instruction if it fails) holds, else refuse it."""
    body = [_statement(_LOAD, _AT_ARGUMENTS + 8 * argument)]  # its low half
    for test in tests:
        body += [test, _statement(_RETURN, _ALLOW)]
    body.append(_statement(_RETURN, _ERRNO | errno.EPERM))
    return [_jump(_EQUAL, number, 0, len(body)), *body]


def _statement(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
