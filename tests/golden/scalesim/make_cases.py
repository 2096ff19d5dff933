"""Run SCALE-Sim 3.0.0 on small products: ``python tests/golden/scalesim/make_cases.py``.

Needs an environment of its own, ``pip install scalesim==3.0.0 numpy==1.26.4``; it fails with
NumPy 2. Memory never stalls it here (mode CALC).
"""

import contextlib
import csv
import io
import os
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

HERE = Path(__file__).parent
#: (m, k, n): vectors, partial folds on both sides, whole folds.
PRODUCTS = [
    (1, 1, 1),
    (3, 5, 7),
    (17, 33, 9),
    (8, 16, 32),
    (40, 24, 8),
    (1, 64, 100),
    (64, 1, 33),
    (50, 70, 1),
    (29, 64, 45),
]
ARRAYS = [(8, 8), (4, 16), (16, 4), (1, 8), (8, 1), (6, 10)]
DATAFLOWS = {"os": "output", "ws": "weight", "is": "input"}
COLUMNS = "m k n rows columns stationary cycles input_reads weight_reads output_writes"
COLUMNS += " utilization_percent mapping_percent"
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {columns}
IfmapSramSzkB: 4096
FilterSramSzkB: 4096
OfmapSramSzkB: 4096
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
ReadRequestBuffer: 512
WriteRequestBuffer: 512
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def main() -> None:
    with (HERE / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS.split())
        for rows, columns in ARRAYS:
            for dataflow in DATAFLOWS:
                writer.writerows(run(rows, columns, dataflow))


def run(rows: int, columns: int, dataflow: str) -> list[list[object]]:
    config = CONFIG.format(rows=rows, columns=columns, dataflow=dataflow)
    # SCALE-Sim's columns are M, N, K; a layout is required though layouts are off.
    topology = ["Layer,M,N,K,", *(f"l{i},{m},{n},{k}," for i, (m, k, n) in enumerate(PRODUCTS))]
    layout = ["Layer," + 20 * "factor,", *(f"l{i}," + 20 * "1," for i in range(len(PRODUCTS)))]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("config").write_text(config)
        Path("topology.csv").write_text("\n".join(topology) + "\n")
        Path("layout.csv").write_text("\n".join(layout) + "\n")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            tool = scalesim(
                save_disk_space=True,
                verbose=False,
                config="config",
                topology="topology.csv",
                layout="layout.csv",
                input_type_gemm=True,
            )
            tool.run_scale(top_path="out")
    layers = tool.runner.single_layer_sim_object_list
    return [
        [
            *product,
            rows,
            columns,
            DATAFLOWS[dataflow],
            int(layer.total_cycles),
            layer.ifmap_sram_reads,
            layer.filter_sram_reads,
            layer.ofmap_sram_writes,
            float(layer.overall_util),
            float(layer.mapping_eff),
        ]
        for product, layer in zip(PRODUCTS, layers, strict=True)
    ]


if __name__ == "__main__":
    main()
