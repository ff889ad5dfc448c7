"""How a DLPack capsule lets go of an export: two C functions of one address.

They are compiled because functions of ctypes would do harm where they are called:
PyTorch calls the deleter without the interpreter lock, and NumPy drops a capsule that
it refuses while its exception is set, which the Python code of a callback loses. Before
the struct lies a reference to the export; a capsule's context is its name until
somebody consumes it.

Source for `compiler`, which compiles these once and keeps the machine code on disk.
"""

from numba import types

int32, int64, slots = types.int32, types.int64, types.CPointer(types.int64)
started = types.ExternalFunction("Py_IsInitialized", int32())
lock = types.ExternalFunction("PyGILState_Ensure", int32())
unlock = types.ExternalFunction("PyGILState_Release", types.void(int32))
drop = types.ExternalFunction("Py_DecRef", types.void(int64))
context = types.ExternalFunction("PyCapsule_GetContext", int64(slots))
is_valid = types.ExternalFunction("PyCapsule_IsValid", int32(slots, int64))
content = types.ExternalFunction("PyCapsule_GetPointer", slots(slots, int64))


def delete_export(managed):
    """The deleter of the struct in a capsule, called with or without the lock."""
    if started() != 0:
        before = lock()
        drop(managed[-1])
        unlock(before)


def drop_capsule(capsule):
    """The destructor of a capsule: deletes what nobody has consumed."""
    name = context(capsule)
    if is_valid(capsule, name) != 0:
        drop(content(capsule, name)[-1])
