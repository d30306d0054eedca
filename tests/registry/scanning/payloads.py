"""Files that run a command when they are loaded, each by another trick; and files that do nothing of the kind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np

COMMAND = "echo pwned"


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


SYSTEM = pickle.dumps(Calls(os.system, COMMAND), 4)
PLAIN = b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR."
STACK = b"\x80\x04" + text("os") + text("system") + b"\x93" + text(COMMAND) + b"\x85R."
MEMO = (
    b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x94" + b"00"  # Remembered and dropped,
    + b"h\x00h\x01\x93" + text(COMMAND) + b"\x85R."  # then used from memory.
)  # fmt: skip


def called(module: str, name: str) -> bytes:
    """A pickle that calls module.name with a text."""
    return f"c{module}\n{name}\n(S'{COMMAND}'\ntR.".encode()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return made.getvalue()


def flagged(data: bytes) -> bytes:
    """An archive that says that its members have a password, which who loads tensors does not look at."""
    found = bytearray(data)
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            found[at + place] |= 1
            at = data.find(magic, at + 1)
    return bytes(found)


def renamed_inside(data: bytes) -> bytes:
    """An archive whose members have another name in their own headers than in the table."""
    at = data.find(b"PK\x03\x04")
    return data[: at + 30] + b"X" + data[at + 31 :]


def wrong_checksum(data: bytes) -> bytes:
    found = bytearray(data)
    for magic, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = data.find(magic)
        found[at + place : at + place + 4] = b"\0\0\0\0"
    return bytes(found)


def tarred(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def array(value: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, np.array([value], dtype=object), allow_pickle=True)
    return made.getvalue()


def dumped(value: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    joblib.dump(value, made, **options)
    return made.getvalue()


def nested(data: bytes) -> bytes:
    return pickle.dumps({"weights": data, "more": data * 1000}, 4)


def after_first(data: bytes) -> bytes:
    return pickle.dumps({"a": 1}) + pickle.dumps([1, 2]) + data


def hidden_in_array() -> bytes:
    """What joblib takes for the numbers of an array, ``pickle.load`` goes on with."""
    wrapped = dumped(np.zeros(40, dtype=np.uint8))
    head = wrapped[: wrapped.index(b"b", wrapped.index(b"numpy_array_alignment_bytes")) + 1]
    padding, payload = 0, b"0" + PLAIN
    return head + bytes([padding]) + payload.ljust(40, b".") + b"."


DANGEROUS: dict[str, bytes] = {
    **{f"os.system, protocol {number}": pickle.dumps(Calls(os.system, COMMAND), number) for number in range(6)},
    "GLOBAL by hand": PLAIN,
    "STACK_GLOBAL": STACK,
    "STACK_GLOBAL from memory": MEMO,
    "names in old strings": b"\x80\x04U\x02os" + b"U\x06system\x93" + text(COMMAND) + b"\x85R.",
    "names as long bytes": b"\x80\x04T\x02\0\0\0osT\x06\0\0\0system\x93" + text(COMMAND) + b"\x85R.",
    "names with escapes": b"\x80\x04V\\u006fs\nS'\\x73ystem'\n\x93" + text(COMMAND) + b"\x85R.",
    "names behind DUP": b"\x80\x04" + text("os") + b"2" + b"0" + text("system") + b"\x93" + text("x") + b"\x85R.",
    "INST": b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'" + COMMAND.encode() + b"'\no.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + text(COMMAND) + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + text(COMMAND) + b"\x85}\x92.",
    "never called": b"cos\nsystem\n.",
    "BUILD of a class": b"\x80\x02csklearn.svm\nSVC\n}X\x07\0\0\0predictNsb.",
    "broken after it": PLAIN[:-1] + b"\xff\xff",
    "no STOP": PLAIN[:-1],
    "binary, broken after it": SYSTEM[:-1] + b"\xff",
    "stack too short": b"\x80\x04000" + STACK[2:],
    "EXT1": b"\x80\x02\x82\x01)R.",
    "EXT4": b"\x80\x02\x84\x01\0\0\0)R.",
    "a name put together": b"\x80\x04cbuiltins\nstr\n)R" + text("system") + b"\x93)R.",
    "getattr": pickle.dumps(Calls(getattr, [], "append"), 2),
    "eval of Python 2": called("__builtin__", "eval"),
    "commands of Python 2": called("commands", "getoutput"),
    "exec": called("builtins", "exec"),
    "a harmless module's os": b"\x80\x04" + text("logging") + text("os.system") + b"\x93" + text("x") + b"\x85R.",
    "through sys.modules": b"\x80\x04" + text("sklearn.svm") + text("sys.modules") + b"\x93.",
    "nested": nested(SYSTEM),
    "nested as text": pickle.dumps(SYSTEM, 2),
    "nested twice": nested(nested(SYSTEM)),
    "a later pickle in the file": after_first(SYSTEM),
    "torch's archive": zipped(("archive/data.pkl", SYSTEM), ("archive/version", b"3\n")),
    "archive, odd member": zipped(("archive/data.pkl", pickle.dumps({})), ("archive/data/0", PLAIN)),
    "archive, deflated": zipped(("archive/data.pkl", SYSTEM), method=zipfile.ZIP_DEFLATED),
    "archive, bzip2": zipped(("archive/data.pkl", SYSTEM), method=zipfile.ZIP_BZIP2),
    "archive with flags of a password": flagged(zipped(("archive/data.pkl", SYSTEM))),
    "archive with two names": renamed_inside(zipped(("archive/data.pkl", SYSTEM))),
    "archive with a wrong checksum": wrong_checksum(zipped(("archive/data.pkl", SYSTEM))),
    "archive cut short": zipped(("archive/data.pkl", SYSTEM))[:-30],
    "archive behind a pickle": pickle.dumps({}) + zipped(("archive/data.pkl", SYSTEM)),
    "pickle before an archive": SYSTEM + zipped(("archive/data.pkl", pickle.dumps({}))),
    "archive in an archive": zipped(("inner.zip", zipped(("data.pkl", SYSTEM)))),
    "two tables": zipped(("data.pkl", SYSTEM)) + zipped(("data.pkl", pickle.dumps({}))),
    "tar": tarred("pickle", SYSTEM),
    "tar, gzip": gzip.compress(tarred("pickle", SYSTEM)),
    "gzip": gzip.compress(SYSTEM),
    "gzip in two parts": gzip.compress(SYSTEM[:9]) + gzip.compress(SYSTEM[9:]),
    "gzip cut short": gzip.compress(SYSTEM)[:-6],
    "zlib": zlib.compress(SYSTEM),
    "bz2": bz2.compress(SYSTEM),
    "xz": lzma.compress(SYSTEM),
    "lzma": lzma.compress(SYSTEM, lzma.FORMAT_ALONE),
    "npy": array(Calls(os.system, COMMAND)),
    "npz": zipped(("a.npy", array(Calls(os.system, COMMAND)))),
    "joblib": dumped({"w": np.zeros((7, 3)), "x": Calls(os.system, COMMAND)}),
    "joblib behind arrays": dumped([np.arange(300), np.array(["a"]), np.zeros((0, 2)), Calls(os.system, COMMAND)]),
    "joblib, objects": dumped(np.array([1, Calls(os.system, COMMAND)], dtype=object)),
    "joblib behind objects": dumped([np.array([1, "a"], dtype=object), Calls(os.system, COMMAND)]),
    "joblib, zlib": dumped({"w": np.zeros(99), "x": Calls(os.system, COMMAND)}, compress=3),
    "joblib, structured": dumped([np.zeros(3, dtype=[("a", "f8"), ("b", "U7")]), Calls(os.system, COMMAND)]),
    "hidden in an array of joblib's": hidden_in_array(),
    "a frame of a wrong length": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + STACK[2:],
    "old ZF of joblib": b"ZF" + hex(len(SYSTEM)).ljust(19).encode() + zlib.compress(SYSTEM),
    **{
        name: called(*name.rsplit(".", 1))
        for name in (
            *("posix.system", "nt.system", "subprocess.call", "subprocess.check_output", "pty.spawn"),
            *("runpy.run_path", "runpy._run_code", "importlib.import_module", "pickle.loads"),
            *("_pickle.loads", "marshal.loads", "webbrowser.open", "shutil.rmtree", "socket.socket"),
            *("urllib.request.urlopen", "ctypes.CDLL", "sys.exit", "timeit.timeit", "cProfile.run"),
            *("pdb.run", "bdb.Bdb", "code.interact", "pydoc.pipepager", "pydoc.locate"),
            *("pkgutil.resolve_name", "operator.attrgetter", "operator.methodcaller", "functools.reduce"),
            *("io.open", "_io.FileIO", "codecs.open", "multiprocessing.util.spawnv_passfds", "asyncio.run"),
            *("doctest.debug_script", "ensurepip._run_pip", "idlelib.pyshell.ModifiedInterpreter"),
            *("lib2to3.pgen2.grammar.Grammar", "trace.Trace", "uuid._get_command_stdout"),
            *("_osx_support._read_output", "logging.config.listen", "venv.create", "inspect.getsource"),
            *("linecache.getline", "smtplib.SMTP", "http.client.HTTPConnection"),
            *("numpy.testing._private.utils.runstring", "numpy.f2py.crackfortran.getlincoef", "numpy.load"),
            *("pandas.eval", "pandas.read_pickle", "joblib.load", "torch.load"),
            *("torch.utils.collect_env.run", "torch.hub.load"),
            *("torch.utils.bottleneck.__main__.run_cprofile", "torch._inductor.codecache.compile_file"),
            *("dill.loads", "torch.jit.unsupported_tensor_ops.execWrapper"),
            *("mlflow.projects.backend.local._run_entry_point", "pandas.io.parsers.readers.read_csv"),
            *("pip.main", "pip._internal.main", "setuptools.setup", "requests.get", "cloudpickle.loads"),
            *("distutils.spawn.spawn", "test.support.script_helper.assert_python_ok", "site.main"),
        )
    },
}  # fmt: skip


def harmless() -> dict[str, Callable[[], bytes]]:
    """Files of models as they are, each made when it is asked for."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(7).normal(size=(80, 3))
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(rows, rows[:, 0] > 0)
    boosted = HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0)
    odd = {
        "objects": np.array([1, "a", None], dtype=object),
        "records": np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]),
        "moments": np.array(["2020-01-01"], dtype="M8[ns]"),
        "none": np.zeros((0, 3)),
        "big endian": np.arange(4, dtype=">i4"),
        "fortran": np.asfortranarray(rows),
        "number": np.float32(3),
    }
    made: dict[str, Callable[[], bytes]] = {
        **{f"forest, protocol {n}": lambda n=n: pickle.dumps(fitted, n) for n in range(6)},  # type: ignore[misc]
        "forest, joblib": lambda: dumped(fitted),
        "forest, joblib gzip": lambda: dumped(fitted, compress=("gzip", 3)),
        "boosted": lambda: pickle.dumps(boosted),
        "odd arrays": lambda: dumped(odd),
        "array of objects": lambda: array(None),
        "yaml that begins with c": lambda: b"channels:\n- conda-forge\ndependencies:\n- python=3.11\n- os\n- system\n",
        "python": lambda: b"import os\nos.system('ls')\n",
        "csv": lambda: b"city,os\nUlm,system\n.\n" * 50,
        "text about os": lambda: b"cos\nsystem\nis how a bad pickle begins.\n",
        "json": lambda: b'{"os": "system"}',
        "safetensors": lambda: struct.pack("<Q", 2) + b"{}",
        "nothing": lambda: b"",
        "numbers": lambda: rows.tobytes(),
        "onnx": lambda: b"\x08\x08\x12\x07pytorch",
        "archive of texts": lambda: zipped(("a.txt", b"hello"), ("b/c.json", b"{}")),
    }
    return made
