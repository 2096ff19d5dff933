"""Machines in the words of tables."""

import pytest

from hw.machine import list_machines, load_machine
from roofline.measured.machine_words import machine_in

#: Words for a number of machines, in both orders; "CPU" may end a CPU's name.
COUNTED = [
    ("{}", 1),
    ("2x {}", 2),
    ("{} x4", 4),
    ("{} CPU", 1),
    pytest.param("8 x {}", 8, marks=pytest.mark.slow),
    pytest.param("4\u00d7 {}", 4, marks=pytest.mark.slow),
    pytest.param("{} x 2", 2, marks=pytest.mark.slow),
    pytest.param("{} * 3", 3, marks=pytest.mark.slow),
    pytest.param("2x {} CPU", 2, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    "text,name,count",
    [
        ("A100", "a100-sxm-80gb", 1),
        ("8xA100-80G", "a100-sxm-80gb", 8),
        ("A100-SXM4-40GB x8", "a100-sxm-40gb", 8),
        ("H100x8", "h100-sxm", 8),
        ("100x A100", "a100-sxm-80gb", 100),
        ("dual RTX 3090", "rtx-3090", 2),
        ("rtx4090", "rtx-4090", 1),
        ("EPYC 9654 x86", "epyc-9654", 1),
        ("Core i7-12700H laptop", "core-i7-12700h", 1),
    ],
)
def test_names_of_machines_in_tables(text, name, count):
    found = machine_in(text)
    assert (found.machine.name, found.count) == (name, count)


@pytest.mark.parametrize("form,count", COUNTED)
def test_counts_stand_apart_from_the_name_of_every_machine(form, count):
    for name in list_machines():
        machine = load_machine(name)
        if "CPU" in form and machine.kind != "cpu":
            continue
        for text in (name, machine.title, *machine.aliases):
            found = machine_in(form.format(text), prefer_kind=machine.kind)
            assert (found.machine.name, found.count) == (name, count), text


@pytest.mark.parametrize("text", ["RTX 4090 Laptop", "Xeon E5-2690 v4", "4x", "nothing"])
def test_other_machines_are_not_taken_for_a_known_one(text):
    with pytest.raises(ValueError, match=r"unknown machine|is the desktop GPU"):
        machine_in(text)


@pytest.mark.parametrize(
    "text,name,count,threads",
    [
        ("RTX 4090 24GB", "rtx-4090", 1, None),
        ("RTX 3090 24GB * 2", "rtx-3090", 2, None),
        ("RX 7900 XTX", "rx-7900-xtx", 1, None),
        ("2x RX 7900XTX", "rx-7900-xtx", 2, None),
        ("RTX 4060 Ti 8GB", "rtx-4060-ti-8gb", 1, None),
        ("RTX 4060 Ti", "rtx-4060-ti", 1, None),
        ("RTX 3080 12GB", "rtx-3080-12gb", 1, None),
        ("RTX 3080", "rtx-3080", 1, None),
        ("8x4090", "rtx-4090", 8, None),
        ("4070 Ti Super", "rtx-4070-ti-super", 1, None),
        ("i9-13900K + RTX 4090", "rtx-4090", 1, None),
        ("HGX H100 8-GPU", "h100-sxm", 8, None),
        ("M3 Max (40 GPU cores)", "apple-m3-max", 1, None),
        ("M2-Ultra (8 CPU threads)", "apple-m2-ultra-cpu", 1, 8),
        ("A5000", "rtx-a5000", 1, None),
        ("H800", "h800-sxm", 1, None),
        ("8xH100-SXM", "h100-sxm", 8, None),
        ("A100-40G", "a100-sxm-40gb", 1, None),
        ("A100 PCIe 80GB", "a100-pcie-80gb", 1, None),
        ("Apple M2 Ultra", "apple-m2-ultra", 1, None),
        ("M2-Ultra CPU", "apple-m2-ultra-cpu", 1, None),
        ("Apple M2 Max, 8 threads", "apple-m2-max-cpu", 1, 8),
        ("Apple M2 Max 96GB", "apple-m2-max", 1, None),
        ("RTX 4090, 8 threads", "rtx-4090", 1, 8),
        ("M1 7-Core GPU 8GB", "apple-m1", 1, None),
        ("Raspberry Pi 5, 4 threads", "raspberry-pi-5", 1, 4),
        ("AMD EPYC 7V13 (16 threads)", "epyc-7v13", 1, 16),
        ("Jetson AGX Orin 64GB", "jetson-agx-orin-64gb", 1, None),
        ("RTX A6000 48GB", "rtx-a6000", 1, None),
        ("RTX 6000 Ada 48GB", "rtx-6000-ada", 1, None),
        ("A10G", "a10g", 1, None),
        ("L40S", "l40s", 1, None),
        ("L4", "l4", 1, None),
        ("AMD Ryzen 9 5950X 16-Core Processor (znver3)", "ryzen-5950x", 1, None),
        ("Ryzen 7950X 16 threads", "ryzen-7950x", 1, 16),
        ("Ryzen 9 9950X 16C/32T", "ryzen-9950x", 1, 32),
        ("2 x AMD EPYC 9654 96-Core Processor", "epyc-9654", 2, None),
        ("RTX 4090 (PCIe 4.0 x16)", "rtx-4090", 1, None),
        ("2x RTX 4090, PCIe Gen4 x8", "rtx-4090", 2, None),
        ("MI300X x8", "mi300x", 8, None),
        ("H100 8x", "h100-sxm", 8, None),
        ("Gaudi2 x8", "gaudi2", 8, None),
        ("TPU v5e-8", "tpu-v5e", 8, None),
        ("TPU v5litepod-4", "tpu-v5e", 4, None),
        ("TPU v4-8", "tpu-v4", 4, None),
        ("TPU v5p-16", "tpu-v5p", 8, None),
        ("8x TPU v6e", "tpu-v6e", 8, None),
        ("M3 Max 14-core CPU 30-core GPU", "apple-m3-max-30-core", 1, None),
        ("Apple M3 Max (16-core CPU, 40-core GPU)", "apple-m3-max", 1, None),
        ("M2 Ultra, 24 CPU cores, 76 GPU cores", "apple-m2-ultra", 1, None),
        ("M4 Max (32 GPU cores)", "apple-m4-max-32-core", 1, None),
        ("Snapdragon X Elite 12-core CPU", "snapdragon-x-elite", 1, None),
        ("Apple M5", "apple-m5", 1, None),
        ("Apple M4 Neural Engine", "apple-neural-engine-m4", 1, None),
        ("M4 ANE", "apple-neural-engine-m4", 1, None),
        ("Snapdragon 8 Gen 3 Hexagon", "snapdragon-8-gen-3-npu", 1, None),
        ("Jetson Orin Nano Super 8GB", "jetson-orin-nano-8gb-super", 1, None),
        ("Jetson Orin Nano 8GB", "jetson-orin-nano-8gb", 1, None),
        ("MacBook Pro M5 Max 128GB", "apple-m5-max", 1, None),
        ("M5 CPU, 4 threads", "apple-m5-cpu", 1, 4),
        ("EPYC 9654 2S", "epyc-9654", 2, None),
        ("2x-h100-sxm", "h100-sxm", 2, None),
        ("AMD Ryzen 9 5950X CPU", "ryzen-5950x", 1, None),
        ("2x 5950X", "ryzen-5950x", 2, None),
        ("H100 PCIe x16", "h100-pcie", 1, None),
        ("H100 PCIe x4", "h100-pcie", 4, None),
        ("2x EPYC 9654 (2S)", "epyc-9654", 2, None),
    ],
)
def test_people_name_machines_freely(text, name, count, threads):
    found = machine_in(text)
    assert (found.machine.name, found.count, found.threads) == (name, count, threads)


def test_the_kind_that_is_meant_decides_between_namesakes():
    assert machine_in("Apple M2 Ultra", prefer_kind="cpu").machine.name == "apple-m2-ultra-cpu"
    assert machine_in("AGX Orin", prefer_kind="cpu").machine.kind == "cpu"


@pytest.mark.parametrize("text", ["Foo", "A1000", "M22", "", "RTX 40900"])
def test_unknown_machines_are_refused(text):
    with pytest.raises(ValueError, match="unknown machine"):
        machine_in(text)


def test_the_processor_beside_a_gpu_is_another_machine():
    with pytest.raises(ValueError, match="apple-m3-max is the GPU; its CPU is not"):
        machine_in("Apple M3 Max CPU")


def test_a_near_name_is_suggested():
    with pytest.raises(ValueError, match="a100-sxm-80gb"):
        machine_in("a1oo-sxm-80gb")
