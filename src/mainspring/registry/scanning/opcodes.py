"""The opcodes: what each does to the stack of symbols, as Python's ``pickletools`` says it."""

from __future__ import annotations

import codecs
import pickletools
import struct
from collections.abc import Callable
from typing import Any

from mainspring.registry.scanning.machine import Machine
from mainspring.registry.scanning.symbols import UNKNOWN, Broken, Source

MAX_OPCODES = 20_000_000
_MAX_PARTS = 64
_NAMES = {ord(op.code): op.name for op in pickletools.opcodes}


def follow(source: Source, *, joblib: bool = True, opcodes_left: int = MAX_OPCODES) -> Machine:
    """Follow a pickle to its STOP, or to where it ends being one. *joblib*: raw arrays stand where joblib puts them."""
    machine, start = Machine(source, follow, joblib=joblib, opcodes_left=opcodes_left), source.at
    try:
        while not machine.stopped:
            if machine.left <= 0:
                raise Broken("it has too many opcodes to be looked through")
            machine.left -= 1
            code = source.read(1)[0]
            step = _STEPS.get(code)
            if step is None:
                raise Broken(f"byte {code:#04x} is no opcode")
            machine.opcodes[_NAMES[code]] += 1
            step(machine)
            if code == 0x80 and source.at == start + 2:
                machine.has_header = True
    except Broken as error:
        machine.broken = f"{error}, at byte {source.at - start}"
    return machine


_Step = Callable[[Machine], None]


def _number(form: str) -> Callable[[Machine], int]:
    size = struct.calcsize(form)
    return lambda m: int(struct.unpack(form, m.source.read(size))[0])


_u1, _u2, _i4, _u4, _u8 = (_number(form) for form in ("<B", "<H", "<i", "<I", "<Q"))


def _line_number(m: Machine) -> int:
    try:
        return int(m.source.line().rstrip(b"L"))
    except ValueError:
        raise Broken("a number cannot be read") from None


def _skip_line(m: Machine) -> None:
    m.source.line()
    m.push(UNKNOWN)


def _quoted(m: Machine) -> None:
    data = m.source.line().strip()
    if len(data) < 2 or data[0] != data[-1] or data[:1] not in (b"'", b'"'):
        raise Broken("a text is not in quotes")
    try:
        inner = codecs.escape_decode(data[1:-1])[0]
    except ValueError:
        raise Broken("a text has a wrong escape") from None
    m.text(bytes(inner), lambda found: found.decode("latin-1"))


def _long(m: Machine, count: int) -> None:
    m.push(int.from_bytes(m.source.read(count), "little", signed=True) if count <= 16 else UNKNOWN)
    if count > 16:
        m.source.skip(count)


def _sequence(parts: list[Any]) -> Any:
    return parts if len(parts) <= _MAX_PARTS else UNKNOWN


def _tuple_of(count: int) -> _Step:
    def step(m: Machine) -> None:
        parts = [m.pop() for _ in range(count)]
        m.push(parts[::-1])

    return step


def _dict(m: Machine) -> None:
    parts = m.pop_to_mark()
    m.push(_mapping(parts))


def _mapping(parts: list[Any]) -> Any:
    if len(parts) > 2 * _MAX_PARTS:
        return UNKNOWN
    return {key: value for key, value in zip(parts[::2], parts[1::2], strict=False) if isinstance(key, str)}


def _set_items(m: Machine) -> None:
    found, target = _mapping(m.pop_to_mark()), m.top()
    if isinstance(target, dict) and isinstance(found, dict) and len(target) <= _MAX_PARTS:
        target.update(found)


def _set_item(m: Machine) -> None:
    value, key, target = m.pop(), m.pop(), m.top()
    if isinstance(target, dict) and isinstance(key, str) and len(target) <= _MAX_PARTS:
        target[key] = value


def _global(m: Machine) -> None:
    module, name = m.source.line(), m.source.line()
    m.bring(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.bring(module, name)


def _extension(m: Machine, number: int) -> None:
    m.notes[f"imports a name by number {number} of a registry that other code fills (EXT)"] = "dangerous"
    m.push(UNKNOWN)


def _instance(m: Machine) -> None:
    _global(m)
    function = m.pop()
    m.call(function, m.pop_to_mark())


def _object(m: Machine) -> None:
    parts = m.pop_to_mark()
    m.call(parts[0] if parts else UNKNOWN, parts[1:])


def _reduce(m: Machine) -> None:
    arguments, function = m.pop(), m.pop()
    m.call(function, arguments)


def _new_with_names(m: Machine) -> None:
    m.pop()
    _reduce(m)


def _stop(m: Machine) -> None:
    m.stopped = True


def _protocol(m: Machine) -> None:
    if m.source.read(1)[0] > 5:
        raise Broken("there is no protocol of this number")


def _nothing(m: Machine) -> None:
    return


def _drop(m: Machine) -> None:
    if m._stack:
        m._stack.pop()


def _push(value: Any) -> _Step:
    return lambda m: m.push(value)


def _take(m: Machine) -> None:
    m.pop()


def _take_all(m: Machine) -> None:
    m.pop_to_mark()


def _collect(m: Machine) -> None:
    m.pop_to_mark()
    m.push(UNKNOWN)


def _float(m: Machine) -> None:
    m.source.skip(8)
    m.push(UNKNOWN)


def _persistent(m: Machine) -> None:
    m.pop()
    m.push(UNKNOWN)


_BY_NAME: dict[str, _Step] = {
    "PROTO": _protocol,
    "FRAME": lambda m: m.source.skip(8),
    "STOP": _stop,
    "MARK": Machine.mark,
    "POP": _drop,
    "POP_MARK": _take_all,
    "DUP": lambda m: m.push(m.top()),
    "PUT": lambda m: m.keep(_line_number(m)),
    "BINPUT": lambda m: m.keep(_u1(m)),
    "LONG_BINPUT": lambda m: m.keep(_u4(m)),
    "MEMOIZE": Machine.memoize,
    "GET": lambda m: m.recall(_line_number(m)),
    "BINGET": lambda m: m.recall(_u1(m)),
    "LONG_BINGET": lambda m: m.recall(_u4(m)),
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    "INT": _skip_line,
    "LONG": _skip_line,
    "FLOAT": _skip_line,
    "BININT": lambda m: m.push(_i4(m)),
    "BININT1": lambda m: m.push(_u1(m)),
    "BININT2": lambda m: m.push(_u2(m)),
    "LONG1": lambda m: _long(m, _u1(m)),
    "LONG4": lambda m: _long(m, _u4(m)),
    "BINFLOAT": _float,
    "STRING": _quoted,
    "BINSTRING": lambda m: m.data(_u4(m)),
    "SHORT_BINSTRING": lambda m: m.data(_u1(m)),
    "BINBYTES": lambda m: m.data(_u4(m)),
    "SHORT_BINBYTES": lambda m: m.data(_u1(m)),
    "BINBYTES8": lambda m: m.data(_u8(m)),
    "BYTEARRAY8": lambda m: m.data(_u8(m)),
    "NEXT_BUFFER": _push(UNKNOWN),
    "READONLY_BUFFER": _nothing,
    "UNICODE": lambda m: m.text(m.source.line(), lambda data: data.decode("raw-unicode-escape")),
    "SHORT_BINUNICODE": lambda m: m.long_text(_u1(m)),
    "BINUNICODE": lambda m: m.long_text(_u4(m)),
    "BINUNICODE8": lambda m: m.long_text(_u8(m)),
    "EMPTY_LIST": _push(UNKNOWN),
    "EMPTY_SET": _push(UNKNOWN),
    "APPEND": _take,
    "APPENDS": _take_all,
    "ADDITEMS": _take_all,
    "LIST": _collect,
    "FROZENSET": _collect,
    "EMPTY_TUPLE": lambda m: m.push([]),
    "TUPLE": lambda m: m.push(_sequence(m.pop_to_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "EMPTY_DICT": lambda m: m.push({}),
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "EXT1": lambda m: _extension(m, _u1(m)),
    "EXT2": lambda m: _extension(m, _u2(m)),
    "EXT4": lambda m: _extension(m, _i4(m)),
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_with_names,
    "BUILD": Machine.build,
    "INST": _instance,
    "OBJ": _object,
    "PERSID": _skip_line,
    "BINPERSID": _persistent,
}
_STEPS: dict[int, _Step] = {ord(op.code): _BY_NAME[op.name] for op in pickletools.opcodes}
