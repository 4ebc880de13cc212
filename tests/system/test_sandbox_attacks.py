"""Ways out of a sandbox that must lead nowhere. See test_sandbox_ordinary for an ordinary user."""

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support import ordinary
from tests.support.processes import gone
from tests.support.sandboxes import printed, spec, started, text

from tutti.meeting.sandbox_calls import InputFile
from tutti.sandboxes.session import Session, SessionDied

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PRELUDE = """
import ctypes, errno, fcntl, glob, os, resource, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {number}

def refused(call, *args):
    try:
        call(*args)
    except (OSError, ValueError):
        return True
    print("NOT REFUSED:", args)
    return False

def call(name, *args):
    x86, arm = NUMBERS[name]
    number = x86 if os.uname().machine == "x86_64" else arm
    if libc.syscall(*[ctypes.c_long(it) for it in (number, *args)]) < 0:
        raise OSError(ctypes.get_errno(), name)

def status(field):
    return next(line.split()[1:] for line in open("/proc/self/status") if line.startswith(field + ":"))
"""
_SENT = (
    "import json\ndef send(frame):\n  data = json.dumps(frame).encode()\n"
    "  os.write(4, len(data).to_bytes(4, 'big') + data)\n"
)
_NUMBERS = {
    "clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "fsopen": (430, 430), "move_mount": (429, 429), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "pidfd_getfd": (438, 438), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "add_key": (248, 217), "keyctl": (250, 219), "fanotify_init": (300, 262),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180), "personality": (135, 92), "reboot": (169, 142),
    "init_module": (175, 105), "kexec_load": (246, 104), "swapon": (167, 224), "syslog": (103, 116),
    "open_by_handle_at": (304, 265), "sethostname": (170, 161), "acct": (163, 89), "quotactl": (179, 60),
    "statmount": (457, 457), "listmount": (458, 458), "not-yet-there": (499, 499),
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session() -> AsyncIterator[Session]:
    async with started() as session:
        await printed(session, _PRELUDE.replace("{number}", repr(_NUMBERS)))
        yield session


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def broken() -> AsyncIterator[Session]:
    """One that has seen a lot."""
    async with started() as session:
        yield session


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Something that listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


ATTACKS = {
    "descriptors": "all([os.readlink(it).split(':')[0] in ('pipe', '/dev/null') for it in"
    " glob.glob('/proc/self/fd/*') if os.path.islink(it)])",
    "system calls": "all([refused(call, name, 0, 0, 0, 0, 0) for name in NUMBERS if name != 'clone'])",
    "namespaces by clone": "all([refused(call, 'clone', 1 << bit | 17, 0, 0, 0, 0) for bit in"
    " (17, 25, 26, 27, 28, 29, 30)])",
    "being root": "all([refused(os.setuid, 0), refused(os.setgid, 0), refused(os.setresuid, 0, 0, 0),"
    " refused(os.setgroups, [0])])",
    "capabilities": "all([int(status(it)[0], 16) == 0 for it in ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb')])",
    "new privileges": "status('NoNewPrivs') == ['1'] and status('Seccomp') == ['2'] and os.getuid() != 0",
    "setuid programs": "'uid=0' not in subprocess.run('cp /bin/cat c; chmod 6777 c; su -c id; sudo -n"
    " id; id',"
    " shell=True, capture_output=True, text=True).stdout",
    "files of the machine": "all([refused(open, it) for it in ('/etc/shadow', '/etc/hostname',"
    " '/root/.bashrc',"
    " '/proc/1/root/etc/shadow', '/proc/kmsg', '/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda')])",
    "what /proc tells": "not any([open(it).read(1) for it in ('/proc/keys', '/proc/kallsyms',"
    " '/proc/timer_list')"
    " if os.path.exists(it) and not refused(open, it)])",
    "folders of the machine": "sorted(set(os.listdir('/')) - {'lib32', 'libx32'}) == sorted(['bin',"
    " 'dev', 'etc',"
    " 'home', 'lib', 'lib64', 'proc', 'run', 'sbin', 'tmp', 'usr', 'var', *TOPS] )",
    "other processes": "sorted(it for it in os.listdir('/proc') if it.isdigit()) == ['1', str(os.getpid())]",
    "command line of the sandbox": "b'ro-bind' not in open('/proc/1/cmdline', 'rb').read()",
    "writing to what is not ours": "all([refused(open, it, 'w') for it in ('/usr/x', '/etc/x', '/etc/passwd',"
    " '/x', '/run/x', '/dev/x', '/var/x', '/lib/x', sys.prefix + '/x', sys.base_prefix + '/x', os.__file__,"
    " '/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger')])",
    "writing to the runner": "all([refused(open, it, 'a') for it in glob.glob('/run/runner/**',"
    " recursive=True)])"
    " and len(glob.glob('/run/runner/**/*.py', recursive=True)) > 3",
    "making it writable": "all([refused(os.chmod, '/usr', 0o777), refused(os.rename, '/etc', '/tmp/etc'),"
    " refused(os.link, '/etc/passwd', '/tmp/p'), refused(os.symlink, 'x', '/run/x'),"
    " refused(os.mkdir, '/dev/x')])",
    "devices": "all([refused(os.mknod, '/tmp/d', 0o60600, os.makedev(254, 0)), refused(os.mknod,"
    " '/tmp/d', 0o20600,"
    " os.makedev(1, 1)), refused(open, '/dev/core')]) and set(os.listdir('/dev')) <= {'core', 'fd',"
    " 'full', 'null',"
    " 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'}",
    "terminal": "refused(fcntl.ioctl, os.open('/dev/ptmx', os.O_RDWR), 0x5412, b'x') and refused(open,"
    " '/dev/tty')",
    "socket families": "all([refused(socket.socket, *it) for it in ((40, 1, 0), (17, 3, 0), (38, 5, 0),"
    " (16, 3, 12),"
    " (16, 3, 15), (2, 3, 1), (2, 3, 255), (2, 5, 132), (2, 1, 132), (2, 1, 262), (31, 3, 1), (44, 3,"
    " 0), (29, 3, 1),"
    " (21, 5, 0), (30, 1, 0), (15, 3, 2))])",
    "this machine's network": "all([refused(socket.create_connection, ('127.0.0.1', PORT), 2)])",
    "other networks": "all([refused(socket.create_connection, (it, 80), 2) for it in ('169.254.169.254',"
    " '1.1.1.1',"
    " '10.0.0.1', '2606:4700::1111')]) and refused(socket.getaddrinfo, 'example.com', 80)",
    "network interfaces": "[name for _, name in socket.if_nameindex()] == ['lo']",
    "abstract sockets": "refused(socket.socket(socket.AF_UNIX).connect, ABSTRACT)",
    "files of sockets": "not glob.glob('/run/**/*sock*', recursive=True) and not glob.glob('/tmp/**/*sock*')",
    "priorities": "all([refused(os.nice, -1), refused(os.sched_setscheduler, 0, os.SCHED_FIFO,"
    " os.sched_param(1))])",
    "raising limits": "all([refused(resource.setrlimit, it, (2**40, 2**40)) for it in (resource.RLIMIT_NPROC,"
    " resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,"
    " resource.RLIMIT_MEMLOCK)]) and libc.mlockall(3) == -1",
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_it_leads_nowhere(session: Session, port: int, name: str) -> None:
    abstract = f"\0tutti-test-{port}"
    tops = {place.parts[1] for place in _mounted()} - {"usr", "home", "tmp"}
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(abstract)
        listening.listen()
        told = f"PORT, ABSTRACT, TOPS = {port}, {abstract!r}, {sorted(tops)}\nprint({ATTACKS[name]})"
        assert await printed(session, told) == "True\n"
        socket.create_connection(("127.0.0.1", port), 2).close()  # it was there
        with closing(socket.socket(socket.AF_UNIX)) as here:
            here.connect(abstract)


def _mounted() -> list[Path]:
    which = spec()
    return [which.environment, (which.environment / "bin/python").resolve()]


async def test_what_is_allowed_works(session: Session) -> None:
    """Else refusing everything would pass as well."""
    code = (
        "def fails(call, *args):\n  try: call(*args)\n  except OSError as error: return error\n"
        "print(fails(open, '/etc/passwd'), fails(open, 'x', 'w'), fails(open, '/tmp/x', 'w'),"
        " fails(open, '/dev/shm/x', 'w'), fails(socket.socket),"
        " fails(socket.socketpair), fails(os.listdir, '/proc/self/fd'))"
    )
    assert (await printed(session, code)).splitlines()[-1] == " ".join(["None"] * 7)


async def test_signals_to_the_first_process_do_nothing(session: Session) -> None:
    sent = "for number in (1, 2, 9, 15, 19):\n  try: os.kill(1, number)\n  except PermissionError: pass"
    await printed(session, sent)
    assert await printed(session, "print('here')") == "here\n"


async def test_sessions_do_not_see_one_another(session: Session) -> None:
    secret = "open('secret', 'w').write('x')\nopen('/tmp/secret', 'w')\nopen('/dev/shm/secret', 'w')\n"
    listen = "s = socket.create_server(('127.0.0.1', 4711))\na = socket.socket(1)\na.bind('\\0tutti-secret')"
    await session.execute(secret + listen)
    look = (
        "import glob, os, socket\n"
        "print(glob.glob('/home/**/*secret*', recursive=True), os.listdir('/dev/shm'))\n"
        "print(socket.socket().connect_ex(('127.0.0.1', 4711)), len(os.listdir('/proc/self/task')))\n"
        "print(open('/proc/net/unix').read().count('secret'), open('/proc/sysvipc/shm').read().count('\\n'))"
    )
    async with started() as other:
        assert (await printed(other, look)).split("\n") == ["[] []", f"{errno.ECONNREFUSED} 2", "0 1", ""]


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/../../x", "", "a//x", "./x", "link/x", "link", "fifo", "folder", "a\0b"]
)
async def test_names_of_files_lead_nowhere_else(session: Session, name: str) -> None:
    await session.execute(
        "for path in ('link', 'fifo'):\n  if os.path.lexists(path): os.unlink(path)\n"
        "os.makedirs('folder', exist_ok=True); os.makedirs('/tmp/else', exist_ok=True)\n"
        "os.symlink('/tmp/else', 'link'); os.mkfifo('fifo')"
    )
    outputs = await session.execute("print('ran')", [InputFile(name, b"content")])
    assert [it.type for it in outputs] == ["error"]
    assert "was not written" in text(outputs, "error")
    assert await printed(session, "print(os.listdir('/tmp/else'))") == "[]\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.closerange(3, 256)", "The code broke the runner of its session."),
        ("ctypes.string_at(0)", "The session's process was ended by SIGSEGV."),
        ("os.kill(os.getpid(), 9)", "The session's process was ended by SIGKILL."),
        ("os.write(4, b'\\xff' * 64)", "The code put out more than the runner lets through."),
        ("os.read(3, 100000)", ""),
        ('os.write(4, b\'\\0\\0\\0\\x10{"type":"ready"}\')', "The code broke the runner of its session."),
        (_SENT + "send({'type': 'stdout', 'data': {}})", "The code broke the runner of its session."),
        (
            _SENT + "while True: send({'type': 'error', 'data': 'x' * 9999})",
            "The code put out more than the runner",
        ),
        ("sys.modules.clear()\nraise KeyboardInterrupt", ""),
    ],
)
async def test_whatever_the_code_does_to_the_runner_nothing_hangs(code: str, reason: str) -> None:
    async with started(time_s=60 if reason else 3) as session:
        try:
            await asyncio.wait_for(session.execute(f"import os, sys, ctypes\n{code}"), 100)
        except SessionDied as died:
            assert died.reason.startswith(reason)
            assert died.reason
        else:
            assert not reason


@pytest.mark.parametrize(
    "data", ["'[' * 100_000", "'[' + '[],' * 600_000 + '[]]'", "'nonsense'"], ids=["deep", "many", "no-json"]
)
async def test_what_the_server_cannot_read_is_left_out(session: Session, data: str) -> None:
    head = '{"type":"display_data","data":{"application/json":'
    (output,) = await session.execute(
        f"frame = ({head!r} + {data} + '}}}}').encode()\n"
        "for piece in (len(frame).to_bytes(4, 'big'), frame):\n"
        "  while piece: piece = piece[os.write(4, piece):]"
    )
    assert output.type == "stderr"
    assert "left out" in str(output.data)


async def test_text_that_is_none_is_an_error_of_the_code(session: Session) -> None:
    for code in ("'\ud800'; 1 / 0", "1 / 0\0"):
        (error,) = await session.execute(code)
        assert error.type == "error"


@pytest.mark.parametrize(
    "code",
    [
        "import builtins\nfor name in dir(builtins):\n  if name[0] != '_': setattr(builtins, name, None)",
        "import os\nos.close(0); os.close(1); os.close(2)",
        "import os, shutil\nos.mkdir('/tmp/d'); os.chdir('/tmp/d'); os.rmdir('/tmp/d')",
        "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None",
        "import os\npid = os.fork()",  # the child would show its 0 whenever it gets to it
        "import sys\nsys.exit(3)",
        "exit()",
        "input()",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
        "import sys\nsys.settrace(lambda *_: 1 / 0)\nsys.setprofile(None)",
        "print('\\ud800')\n'\\ud800'",
        "class A:\n  def __repr__(self): raise SystemExit\nA()",
        "class A(Exception):\n  def __str__(self): raise ValueError\nraise A",
        "raise BaseException('x')",
        "raise KeyboardInterrupt",
    ],
)
async def test_what_code_may_break_is_mended_for_the_next(broken: Session, code: str) -> None:
    await broken.execute(code)
    outputs = await broken.execute("import os\nprint('here', flush=True)\n_ = os.system('echo there')")
    assert text(outputs).endswith("here\nthere\n"), outputs


async def test_nothing_is_left_the_moment_it_is_closed() -> None:
    """Its user id is then another's."""
    async with started() as session:
        await session.execute("import subprocess\nfor _ in range(20): subprocess.Popen(['sleep', '999'])")
        pids = session._box.pids()
        assert len(pids) == 22
    assert not [pid for pid in pids if Path("/proc", str(pid)).exists()]


async def test_a_killed_server_leaves_no_sandbox() -> None:
    code = (
        "import asyncio\nfrom tests.support.sandboxes import started\n"
        "async def main():\n  async with started() as session:\n"
        '    await session.execute(\'import subprocess; subprocess.Popen(["sleep", "999"])\')\n'
        "    print(*session._box.pids(), flush=True)\n    await asyncio.sleep(999)\nasyncio.run(main())"
    )
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ordinary.REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    pids = [int(pid) for pid in (await server.stdout.readline()).split()]
    assert len(pids) == 3
    server.kill()
    await server.wait()
    await gone(pids)
