from tutti.process.gpus import Gpu, parse


def test_gpus_are_read_from_nvidia_smi() -> None:
    listing = "0, NVIDIA H100 80GB HBM3, 81559\n1, NVIDIA A10, Liquid, 23028\n"
    assert parse(listing) == (
        Gpu(0, "NVIDIA H100 80GB HBM3", 81559 * 2**20),
        Gpu(1, "NVIDIA A10, Liquid", 23028 * 2**20),
    )


def test_a_gpu_in_error_is_left_out() -> None:
    assert parse("0, NVIDIA A10, [N/A]\n\nUnable to determine the device handle\n") == ()
