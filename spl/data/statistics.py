"""Mean and variance of a dataset that is read batch by batch."""

from torch import Tensor


class Moments:
    """Mean and variance of every position over the samples added so far.

    Batches may have any size: they are merged as Chan et al. (1979) do, in float64, so that their order and
    number change rounding alone.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None  # sum of squared distances from the mean

    def add(self, x: Tensor) -> None:
        """Take in samples ``(B, ...)``, floats in the unit in which the moments are wanted."""
        if not len(x):
            return
        x = x.cpu().double()  # which not every device has
        mean = x.mean(dim=0)
        squares = (x - mean).square().sum(dim=0)
        if self._mean is None or self._squares is None:
            self.count, self._mean, self._squares = len(x), mean, squares
            return
        total = self.count + len(x)
        apart = mean - self._mean
        self._mean += apart * (len(x) / total)
        self._squares += squares + apart.square() * (self.count * len(x) / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """Mean of every position, ``(...)`` float32: the best prediction that looks at nothing."""
        assert self._mean is not None, "add samples first"
        return self._mean.float()

    @property
    def variance(self) -> float:
        """Mean over the positions of their variances: what that prediction costs, squared, per value."""
        assert self._squares is not None, "add samples first"
        return float(self._squares.mean()) / self.count
