"""How many neighbours a channel looks at in efficient channel attention (ECA)."""


def eca_kernel(channels: int) -> int:
    """Return the odd number nearest to ``log2(channels) / 2 + 1 / 2``, the larger of two.

    Source: Wang, Wu, Zhu, Li, Zuo, Hu (2020), ECA-Net, equation 12 with ``gamma = 2`` and ``b = 1``.
    """
    return 2 * (channels.bit_length() // 4) + 1  # the same in whole numbers
