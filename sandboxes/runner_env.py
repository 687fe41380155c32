"""What the environment of every runner says, wherever its sandbox is: code behaves the same, and can be copied live."""

RUNNER_ENV = {
    # One thread: OpenMP's own threads hang after a fork, which is how snapshots are taken.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The allocator of pyarrow starts a thread otherwise, and a process with threads cannot be copied live.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Huge pages make the fork of a large heap about twenty times cheaper.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # Sets come in the same order when code is run again.
    "PYTHONHASHSEED": "0",
}
