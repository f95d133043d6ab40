"""The pickle in a checkpoint, read instruction by instruction before torch follows it. Imports no torch.

torch's own guard decides what may be called; here it is what torch.save writes for tensors in groups and lists, and
nothing else, so that no instruction fills the memory, hangs an attribute on a tensor or is new to the guard.
"""

import pickletools

MOST_INSTRUCTIONS = 4_000_000
KINDS = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
CALLED = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in KINDS),
}
WRITTEN = frozenset(
    (
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    )
)


def refuse_instructions(code: bytes) -> None:
    """Raises ValueError with what it asks for."""
    for number, (instruction, argument, _) in enumerate(pickletools.genops(code)):
        if instruction.name == "GLOBAL" and argument not in CALLED:
            raise ValueError(f"it asks for {str(argument).replace(' ', '.')[:200]}, and a checkpoint may run nothing")
        if instruction.name not in WRITTEN:
            raise ValueError(f"it has the instruction {instruction.name}, which no checkpoint needs")
        if number > MOST_INSTRUCTIONS:
            raise ValueError(f"it has more than {MOST_INSTRUCTIONS} instructions")
