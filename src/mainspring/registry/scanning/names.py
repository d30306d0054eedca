"""What the names that a pickle imports stand for: harmless, unknown, or a way to run whatever one likes.

Lists of what is dangerous are never complete, so the standard library is judged the other way round: what is not known
to be plain data is refused. Of other packages what rebuilds arrays, estimators and tensors is known; the rest is told.
"""

from __future__ import annotations

import _compat_pickle
import re
import sys

from mainspring.registry.scanning.model import Level

_WORD = re.compile(r"[^\W\d]\w*")


def _table(text: str) -> dict[str, set[str]]:
    lines = (line.split(":") for line in text.strip().splitlines())
    return {module.strip(): set(names.split()) for module, names in lines}


_PLAIN = _table("""
    builtins: bool bytearray bytes complex dict float frozenset int list object range set slice str tuple NoneType
    _codecs: encode
    copyreg: _reconstructor __newobj__ __newobj_ex__
    collections: OrderedDict defaultdict Counter deque ChainMap UserDict UserList UserString
    datetime: date datetime time timedelta timezone
    decimal: Decimal
    fractions: Fraction
    uuid: UUID SafeUUID
    enum: Enum IntEnum Flag IntFlag
    array: array _array_reconstructor
    types: SimpleNamespace MappingProxyType NoneType EllipsisType NotImplementedType
    argparse: Namespace
    functools: partial
    operator: itemgetter
    itertools: count
    re: _compile RegexFlag
    random: Random
    string: Template
    logging: Logger getLogger
    pathlib: Path PosixPath PurePath PurePosixPath WindowsPath PureWindowsPath
    zoneinfo: ZoneInfo
    ipaddress: IPv4Address IPv6Address IPv4Network IPv6Network
    math: exp log log1p expm1 sqrt sin cos tan tanh floor ceil
    statistics: NormalDist mean median
    threading: Lock RLock
    _thread: RLock
    time: struct_time
    numpy: dtype ndarray matrix recarray bool_ float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32
    numpy.core.multiarray: _reconstruct scalar
    numpy._core.multiarray: _reconstruct scalar
    numpy.core.numeric: _frombuffer
    numpy._core.numeric: _frombuffer
    numpy.core._internal: _convert_to_stringdtype_kwargs
    numpy._core._internal: _convert_to_stringdtype_kwargs
    numpy.random._pickle: __randomstate_ctor __bit_generator_ctor __generator_ctor
    numpy.ma.core: _mareconstruct MaskedArray
    joblib.numpy_pickle: NumpyArrayWrapper
    pandas._libs.internals: _unpickle_block
    pandas._libs.tslibs.timestamps: _unpickle_timestamp Timestamp
    pandas._libs.arrays: __pyx_unpickle_NDArrayBacked
    pandas._libs.missing: NAType
    pandas.core.indexes.base: _new_Index
    pandas.core.indexes.datetimes: _new_DatetimeIndex
    torch: Size device dtype FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage
    torch._utils: _rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter _rebuild_sparse_tensor _rebuild_qtensor
    torch.storage: UntypedStorage TypedStorage
    torch._tensor: _rebuild_from_type_v2
    torch.serialization: _get_layout
    xgboost.core: Booster
    lightgbm.basic: Booster
""")  # noqa: E501
_DTYPES = re.compile(
    r"u?int\d+|float\d+|bfloat16|complex\d+|bool_?|long|int|float|double|half|short|strided|sparse_coo"
)
_PACKAGES = (
    *("sklearn", "scipy", "numpy", "pandas", "xgboost", "lightgbm", "catboost", "torch", "torchvision", "statsmodels"),
    *("imblearn", "category_encoders", "skops", "transformers", "sentence_transformers", "mainspring", "prophet"),
)
_CLASS = re.compile(r"_?[A-Z]\w*|__pyx_unpickle_\w+")
"""In these packages a name that is written as a class is one: an estimator, a tree, a loss, a layer."""

OF_PYTHON = "is of Python's standard library and no plain data: it may run commands or code"
_OF_CLASSES = _table("""
    builtins: type property staticmethod classmethod super
    abc: ABC ABCMeta abstractmethod
    enum: EnumMeta EnumType auto
    dataclasses: dataclass field Field _MISSING_TYPE _FIELD_BASE _DataclassParams
    typing: Any Callable ClassVar Dict Final Generic List Literal NamedTuple Optional Set Tuple Type TypeVar Union
    functools: wraps cached_property lru_cache
    contextlib: contextmanager suppress
    _operator: getitem
""")
_BY_VALUE = ("cloudpickle", "cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "dill", "dill._dill")
_CARRIED = re.compile(
    r"_builtin_type|_make_\w+|_create_\w+|_fill_function|_class_setstate|_function_setstate|_empty_cell_value|_cell_set"
    r"|_gen_ellipsis|_lookup_class_or_track|subimport|dynamic_subimport|_make_empty_cell|_load_type|_import_module"
    r"|_get_attr|_setattr|_dict_from_dictproxy|_shims|_get_cell_contents|_code_reduce|_get_dataclass_field_type_sentinel"
)

_GADGETS = _table("""
    numpy: load loads loadtxt genfromtxt fromfile save savetxt memmap
    pandas: eval read_pickle read_csv read_json read_html read_sql read_excel read_parquet
    joblib: load dump Parallel Memory
    torch: load hub compile
    sklearn.datasets: fetch_openml
    cloudpickle: load loads
    cloudpickle.cloudpickle: load loads
    dill: load loads load_session
    xgboost.collective: init
    transformers: pipeline
    mlflow: run
""")
_GADGET_MODULES = (
    *("numpy.testing", "numpy.f2py", "numpy.distutils", "numpy.lib.npyio", "numpy.lib._npyio_impl", "numpy.ctypeslib"),
    *("numpy.memmap", "pandas.io", "pandas.core.computation", "pandas.util._tester", "joblib.numpy_pickle_utils"),
    *("joblib.externals", "joblib.memory", "joblib.parallel", "torch.hub", "torch.utils.bottleneck", "torch._inductor"),
    *("torch.utils.collect_env", "torch.utils._config_module", "torch.utils.cpp_extension", "torch.jit"),
    *("torch.utils.data.datapipes", "torch.distributed", "torch.multiprocessing", "torch.package", "torch._dynamo"),
    *("scipy._lib._testutils", "scipy.io", "scipy.weave", "mlflow.projects", "mlflow.pyfunc", "mlflow.models"),
    *("pip", "setuptools", "distutils", "pkg_resources", "_distutils_hack", "IPython", "jedi", "ipykernel"),
    *("requests", "httpx", "httpx2", "urllib3", "aiohttp", "paramiko", "fabric", "boto3", "botocore", "psutil", "sh"),
    *("pexpect", "ptyprocess", "plumbum", "invoke", "traitlets", "celery", "twisted", "gevent", "jinja2"),
    *("sqlalchemy", "yaml", "click", "numba", "cffi", "ctypes", "nt", "posix", "commands", "popen2", "test"),
    *("setuptools", "pytest", "_pytest", "py", "nose", "sympy", "asteval", "numexpr", "tensorflow.io", "keras.utils"),
)  # fmt: skip

_RENAMED = {**_compat_pickle.IMPORT_MAPPING}


def is_name(module: str, name: str) -> bool:
    """Tell whether something could have these names at all; what was read out of other bytes mostly could not."""
    return all(_WORD.fullmatch(part) for part in (*module.split("."), *name.split(".")))


def judge(module: str, name: str) -> tuple[Level, str]:
    """Say how dangerous it is to import *name* of *module* in a pickle, and why."""
    module, name = _today(module, name)
    if name in _PLAIN.get(module, ()):
        return "safe", ""
    if "." in name:
        return _judge_path(module, name)
    if _is_below(module, _GADGET_MODULES) or name in _GADGETS.get(module, ()):
        return "dangerous", "runs commands or code, or reads files or the network"
    if module.split(".")[0] in ("__main__", "__mp_main__"):
        return "unknown", "is a class or function of the script that wrote the pickle"
    if module in _BY_VALUE and _CARRIED.fullmatch(name):
        return "code", "brings code along in the pickle"
    if module == "types" and name in ("CodeType", "FunctionType", "LambdaType", "CellType", "MethodType"):
        return "code", "brings code along in the pickle"
    if name in _OF_CLASSES.get(module, ()):
        return "code", "makes a class that the pickle brings along"
    if module.split(".")[0] in sys.stdlib_module_names:
        return "dangerous", OF_PYTHON
    if module.startswith("torch") and _DTYPES.fullmatch(name):
        return "safe", ""
    if module.split(".")[0] in _PACKAGES and _CLASS.fullmatch(name):
        return "safe", ""
    return "unknown", "is on no list"


def _judge_path(module: str, name: str) -> tuple[Level, str]:
    # From protocol 4 on a dotted name walks through attributes, so a harmless module leads to those that it imports.
    parts = name.split(".")
    if parts[1:] == ["__new__"] and (module == "enum" or judge(module, parts[0])[0] in ("safe", "code")):
        return "code", "makes a class that the pickle brings along"
    for part in parts:
        if part.startswith("__") or part.lstrip("_") in sys.stdlib_module_names or part in _STEPS:
            return "dangerous", f"leads through the attribute {part!r}"
    first, why = judge(module, parts[0])
    if first != "safe":
        return first, why
    return ("safe", "") if all(_CLASS.fullmatch(part) for part in parts) else ("unknown", "is an attribute of a class")


_STEPS = frozenset(
    ("system", "popen", "eval", "exec", "compile", "open", "getattr", "setattr", "import_module", "spawn", "Popen")
)


def _today(module: str, name: str) -> tuple[str, str]:
    # Pickles of Python 2 name things as they were called there, and loading them translates it.
    found = _compat_pickle.NAME_MAPPING.get((module, name))
    if found is not None:
        return found
    return _RENAMED.get(module, module), name


def _is_below(module: str, roots: tuple[str, ...]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)
