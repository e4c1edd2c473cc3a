"""The one exception that is meant for the user, and lack of memory."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was expected, what came, and what to do. The command line prints it and exits
    with 2; a program may catch it as a ValueError.
    """


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Whether Python, numpy or torch, on a GPU or without, could not get memory, whatever was made of that since.

    >>> is_lack_of_memory(RuntimeError("CUDA error: out of memory")), is_lack_of_memory(RuntimeError("no such file"))
    (True, False)
    """
    while error is not None:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in said for sign in _NO_MEMORY):
            return True
        error = getattr(error, "inner_exception", None) or error.__cause__
    return False


_NO_MEMORY = ("out of memory", "can't allocate memory", "_alloc_failed")  # CUDA's; torch's on a CPU; cuBLAS's, cuDNN's
