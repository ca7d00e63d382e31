#!/usr/bin/env python3
"""Time EZKL on one GPT-2 transformer block of the shape that `nanozk bench` proves. See README.md."""

import argparse
import asyncio
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PHASES = ["settings", "compile", "srs", "keygen", "witness", "prove", "verify"]
SEED = 1
MASKED = -16.0  # exp(-16) is 0 at every scale in use; a larger number would only widen EZKL's lookup tables
GIB = 1 << 30


# The block, as an ONNX graph.


class Graph:
    """A list of ONNX nodes with one output each, and their constants."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def const(self, values):
        import numpy as np
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        values = np.asarray(values)
        kind = np.int64 if values.dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def op(self, kind, *inputs, **attributes):
        from onnx import helper

        inputs = [x if isinstance(x, str) else self.const(x) for x in inputs]
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name


def mean(g, x):
    return g.op("ReduceMean", x, axes=[-1], keepdims=1)


def layer_norm(g, x, weight, d):
    centred = g.op("Sub", x, mean(g, x))
    variance = mean(g, g.op("Mul", centred, centred))
    deviation = g.op("Sqrt", g.op("Add", variance, 1e-5))
    scaled = g.op("Mul", g.op("Div", centred, deviation), 1 + weight(d))
    return g.op("Add", scaled, weight(d))


def linear(g, x, weight, rows, cols, shrink=1.0):
    return g.op("Add", g.op("MatMul", x, weight(rows, cols) * shrink), weight(cols))


def attention(g, x, weight, a, shrink):
    import numpy as np

    def heads(x, order):
        split = g.op("Reshape", x, np.array([1, a.tokens, a.heads, a.dim // a.heads]))
        return g.op("Transpose", split, perm=order)

    q, k, v = (linear(g, x, weight, a.dim, a.dim) for _ in range(3))
    scores = g.op("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]))
    scores = g.op("Mul", scores, (a.dim // a.heads) ** -0.5)
    scores = g.op("Add", scores, np.triu(np.full((1, 1, a.tokens, a.tokens), MASKED), 1))
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), heads(v, [0, 2, 1, 3]))
    joined = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([1, a.tokens, a.dim]))
    return linear(g, joined, weight, a.dim, a.dim, shrink)


def gelu(g, x):
    cube = g.op("Mul", g.op("Mul", x, x), x)
    inner = g.op("Mul", g.op("Add", x, g.op("Mul", cube, 0.044715)), 0.7978845608)
    return g.op("Mul", g.op("Mul", x, 0.5), g.op("Add", g.op("Tanh", inner), 1.0))


def block(a):
    """Weights as GPT-2 is initialised, but with biases and gains drawn too, so that none can be folded away."""
    import numpy as np
    from onnx import TensorProto, checker, helper

    rng, g = np.random.default_rng(SEED), Graph()
    weight = lambda *shape: rng.normal(0, 0.02, shape)
    shrink = (2 * a.layers) ** -0.5
    x = g.op("Add", "x", attention(g, layer_norm(g, "x", weight, a.dim), weight, a, shrink))
    hidden = gelu(g, linear(g, layer_norm(g, x, weight, a.dim), weight, a.dim, a.ff))
    y = g.op("Add", x, linear(g, hidden, weight, a.ff, a.dim, shrink))
    shape = [1, a.tokens, a.dim]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(g.nodes, "block", [value("x")], [value(y)], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model, rng.normal(0, 1, shape).astype(np.float32)


def build(a, work):
    import onnx
    from onnx.reference import ReferenceEvaluator

    model, x = block(a)
    onnx.save(model, work / "model.onnx")
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    write(work / "input.json", {"input_data": [x.ravel().tolist()]})
    write(work / "expected.json", expected.ravel().tolist())


# The phases. Each runs in a process of its own, in the working directory.


def run_args(a):
    import ezkl

    args = ezkl.PyRunArgs()
    args.input_visibility = args.output_visibility = "public"
    args.param_visibility = "private"
    args.input_scale = args.param_scale = a.scale
    if a.inner_cols:
        args.num_inner_cols = a.inner_cols
    return args


async def phase_settings(ezkl, a):
    ezkl.gen_settings("model.onnx", "settings.json", run_args(a))
    await finished(
        ezkl.calibrate_settings(
            "input.json", "model.onnx", "settings.json", target="resources", scales=[a.scale], max_logrows=a.max_logrows
        )
    )


async def phase_compile(ezkl, a):
    ezkl.compile_circuit("model.onnx", "circuit.ezkl", "settings.json")


async def phase_srs(ezkl, a):
    """An SRS that whoever made it could forge with: good for timing only. It depends on the number of rows alone."""
    logrows = read("settings.json")["run_args"]["logrows"]
    kept = a.srs_dir / f"{logrows}.srs" if a.srs_dir else Path("kzg.srs")
    if not kept.exists():
        ezkl.gen_srs(str(kept), logrows)
    if a.srs_dir:
        Path("kzg.srs").symlink_to(kept)


async def phase_keygen(ezkl, a):
    ezkl.setup("circuit.ezkl", "vk.key", "pk.key", "kzg.srs")


async def phase_witness(ezkl, a):
    await finished(ezkl.gen_witness("input.json", "circuit.ezkl", "witness.json"))


async def phase_prove(ezkl, a):
    await finished(ezkl.prove("witness.json", "circuit.ezkl", "pk.key", "proof.json", "kzg.srs"))


async def phase_verify(ezkl, a):
    if not await finished(ezkl.verify("proof.json", "settings.json", "vk.key", "kzg.srs")):
        raise RuntimeError("the proof does not verify")


async def finished(result):
    return await result if inspect.isawaitable(result) else result


def child(a):
    """Run one phase here and write how long the call took, without the interpreter's start."""
    import ezkl

    os.chdir(a.workdir)
    start = time.perf_counter()
    asyncio.run(globals()[f"phase_{a.phase}"](ezkl, a))
    write(f"{a.phase}.time", time.perf_counter() - start)


# The parent: start a phase, watch it, report.


def rss(pid):
    """Resident bytes of a process now, 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def watch(process, memory, seconds):
    """Wait for the process, or kill it at a limit. Returns (exit code, peak bytes, why it was killed)."""
    deadline, killed = time.monotonic() + seconds, None
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024, killed
        if killed is None:
            if rss(process.pid) > memory:
                killed = "killed: memory"
            elif time.monotonic() > deadline:
                killed = f"timeout: {seconds:.0f} s"
            if killed:
                process.kill()
        time.sleep(0.05)


def first_to_go():
    """Should memory run out all the same, let the kernel take this process and no other."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def run_phase(phase, work, argv, memory, seconds):
    """Returns (outcome, seconds, peak bytes)."""
    command = [sys.executable, os.path.abspath(__file__), *argv, "--workdir", str(work), "--phase", phase]
    log, start = work / f"{phase}.log", time.perf_counter()
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=first_to_go)
        code, peak, killed = watch(process, memory, seconds)
    elapsed = time.perf_counter() - start
    if killed is None and code == 0:
        return "ok", read(work / f"{phase}.time"), peak
    if code == -9 and killed is None:
        killed = "killed: memory"  # by the kernel
    return killed or f"error: {last_line(log)}", elapsed, peak


def last_line(log):
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def run_all(a, work, argv):
    last = PHASES.index(a.stop_after)
    report = {"outcome": "ok", "phase_s": {}, "peak_rss_bytes": {}}
    deadline = time.monotonic() + a.timeout
    for phase in PHASES[: last + 1]:
        left = max(deadline - time.monotonic(), 0)
        outcome, seconds, peak = run_phase(phase, work, argv, a.memory_limit * GIB, left)
        report["phase_s"][phase] = round(seconds, 3)
        report["peak_rss_bytes"][phase] = peak
        print(f"  {phase:9} {seconds:9.2f} s {peak / GIB:7.2f} GiB  {outcome}", flush=True)
        if outcome != "ok":
            if outcome.startswith("timeout"):
                outcome = f"timeout: {a.timeout:.0f} s in all"
            report["outcome"] = f"{phase}: {outcome}"
            break
    else:
        if a.stop_after != PHASES[-1]:
            report["outcome"] = f"stopped after {a.stop_after}, as asked"
    return report


# The report.


def write(path, value):
    Path(path).write_text(json.dumps(value))


def read(path):
    return json.loads(Path(path).read_text())


def circuit(work):
    """What calibration settled on."""
    path = work / "settings.json"
    if not path.exists():
        return {}
    s = read(path)
    keep = ["num_inner_cols", "lookup_range", "input_scale", "param_scale"]
    return {
        "logrows": s["run_args"]["logrows"],
        "rows": s["num_rows"],
        "assignments": s["total_assignments"],
        **{key: s["run_args"][key] for key in keep},
    }


def sizes(work):
    names = {"proof_bytes": "proof.json", "pk_bytes": "pk.key", "vk_bytes": "vk.key", "srs_bytes": "kzg.srs"}
    found = {key: (work / name).stat().st_size for key, name in names.items() if (work / name).exists()}
    if "proof_bytes" in found:
        found["proof_json_bytes"] = found["proof_bytes"]
        found["proof_bytes"] = len(read(work / "proof.json")["proof"])
    return found


def accuracy(work):
    """How far the circuit's output is from floating point, beside what the block adds to its input at all."""
    path = work / "witness.json"
    if not path.exists():
        return {}
    difference = lambda a, b: max(abs(float(x) - float(y)) for x, y in zip(a, b, strict=True))
    outputs = read(path)["pretty_elements"]["rescaled_outputs"][0]
    inputs, expected = read(work / "input.json")["input_data"][0], read(work / "expected.json")
    return {"max_abs_error": difference(outputs, expected), "max_abs_update": difference(inputs, expected)}


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "ram_bytes": ram}


def run_nanozk(a, work):
    """`nanozk bench` on the same shape, or on the next it has: heads of 64, tokens a power of two from 4."""
    dim, seq = -(-a.dim // 64) * 64, max(4, 1 << (a.tokens - 1).bit_length())
    shape = (dim, dim // 64, 4 * dim, seq)
    same = (a.dim, a.heads, a.ff, a.tokens) == shape
    out = work / "nanozk.json"
    load = os.getloadavg()[0]
    command = [a.nanozk, "bench", "--dims", str(dim), "--seq", str(seq), "--json", str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return {"outcome": f"error: {done.stderr.strip()}", "load": load}
    result = read(out)
    label = "same" if same else "another: d {}, heads {}, ff {}, tokens {}".format(*shape)
    return {"outcome": "ok", "shape": label, "load": load, "version": result["version"], "row": result["rows"][0]}


def measure(a, argv, work):
    report = {
        "machine": machine(),
        "load_before": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ["ezkl", "onnx", "numpy"]}},
        "dims": {key: getattr(a, key) for key in ["dim", "heads", "ff", "tokens", "layers", "scale"]},
        "limits": {"memory_gib": a.memory_limit, "timeout_s": a.timeout},
    }
    print(f"d {a.dim}, {a.heads} heads, ff {a.ff}, {a.tokens} tokens; load {report['load_before']:.2f}", flush=True)
    build(a, work)
    report |= run_all(a, work, argv)
    report |= {"circuit": circuit(work), **sizes(work), **accuracy(work), "load_after": os.getloadavg()[0]}
    if a.nanozk:
        report["nanozk"] = run_nanozk(a, work)
    return report


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dim", type=int, default=64)
    p.add_argument("--heads", type=int, default=1)
    p.add_argument("--ff", type=int, help="default: 4 times --dim")
    p.add_argument("--tokens", type=int, default=16)
    p.add_argument("--layers", type=int, default=12, help="of the model the weights are drawn for")
    p.add_argument("--scale", type=int, default=7, help="bits after the point")
    p.add_argument("--inner-cols", type=int, help="EZKL's num_inner_cols; default: its own")
    p.add_argument("--max-logrows", type=int, help="bound for EZKL's calibration; default: its own")
    p.add_argument("--memory-limit", type=float, default=16, metavar="GIB", help="resident, of each phase")
    p.add_argument("--timeout", type=float, default=600, metavar="S", help="for all phases together")
    p.add_argument("--stop-after", choices=PHASES, default=PHASES[-1])
    p.add_argument("--workdir", type=Path, help="kept; default: a temporary directory, removed")
    p.add_argument("--srs-dir", type=Path, help="keep the SRS here for the next run; default: make it anew")
    p.add_argument("--json", type=Path, metavar="FILE")
    p.add_argument("--nanozk", metavar="PATH", help="also run PATH bench")
    p.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    a = p.parse_args(argv)
    a.ff = a.ff or 4 * a.dim
    if a.srs_dir:
        a.srs_dir = a.srs_dir.resolve()
        a.srs_dir.mkdir(parents=True, exist_ok=True)
    if a.dim % a.heads:
        p.error("--heads must divide --dim")
    return a


def main(argv):
    a = arguments(argv)
    if a.phase:
        return child(a)
    if a.workdir:
        a.workdir.mkdir(parents=True, exist_ok=True)
        for old in a.workdir.iterdir():
            sys.exit(f"{a.workdir} is not empty: {old.name}")
        report = measure(a, argv, a.workdir.resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="ezkl-block-") as work:
            report = measure(a, argv, Path(work))
    print(json.dumps(report, indent=2))
    if a.json:
        a.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
