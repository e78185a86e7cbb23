"""Random protobuf messages of any type, as hypothesis draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

_FEW = st.integers(0, 4)
_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: st.one_of(_FEW, st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.CPPTYPE_UINT32: st.one_of(_FEW, st.integers(0, 2**32 - 1)),
    FieldDescriptor.CPPTYPE_INT64: st.one_of(_FEW, st.integers(-(2**63), 2**63 - 1)),
    FieldDescriptor.CPPTYPE_UINT64: st.one_of(_FEW, st.integers(0, 2**64 - 1)),
    FieldDescriptor.CPPTYPE_ENUM: st.one_of(_FEW, st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_STRING: st.binary(max_size=64),
}


def messages(
    descriptor: Descriptor, likely: Mapping[str, st.SearchStrategy[Any]] | None = None
) -> st.SearchStrategy[Any]:
    """Messages of a type; fields named in `likely` are often drawn from there."""
    likely = likely or {}
    fields = {one.name: _field(one, likely) for one in descriptor.fields}
    made = message_factory.GetMessageClass(descriptor)
    return st.fixed_dictionaries({}, optional=fields).map(lambda drawn: made(**drawn))


def _field(
    one: FieldDescriptor, likely: Mapping[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    if one.message_type and one.message_type.GetOptions().map_entry:
        key, value = one.message_type.fields
        return st.dictionaries(_value(key, likely), _value(value, likely), max_size=3)
    value = _value(one, likely)
    if one.name in likely:
        value = st.one_of(likely[one.name], value)
    return st.lists(value, max_size=4) if one.is_repeated else value


def _value(
    one: FieldDescriptor, likely: Mapping[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    if one.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return messages(one.message_type, likely)
    if one.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=20)
    return _SCALARS[one.cpp_type]
