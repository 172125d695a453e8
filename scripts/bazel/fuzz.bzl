"""holdfast_fuzz_test: one LLVMFuzzerTestOneInput(), two uses.

With --config=fuzz it is a libFuzzer program (`bazel run --config=fuzz
//protocol:foo_fuzz -- -max_total_time=60`); otherwise a small test that feeds
it seeds and a fixed number of mutations of them.
"""

def holdfast_fuzz_test(name, srcs, deps = [], seeds = []):
    """seeds: files whose contents the replay starts from (may be empty)."""
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = ["$(locations %s)" % s for s in seeds],
        data = seeds,
        linkopts = select({
            "//scripts/bazel:fuzz": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//scripts/bazel:fuzz": [],
            "//conditions:default": ["//scripts/bazel:fuzz_replay"],
        }),
    )
