"""Jobs that are done one after the other."""

from stream.files.restorer import Restorer


class JobSequence:
    """Jobs one after the other, which are stopped as one is."""

    def __init__(self) -> None:
        self._job: Restorer | None = None
        """The one at work, or the last one."""
        self._stopped = False

    def stop(self) -> None:
        """Finish the frames in hand and end."""
        self._stopped = True
        if self._job is not None:
            self._job.stop()

    def cancel(self) -> None:
        """End at once; what is done of the job at work is kept where it would be by itself."""
        self._stopped = True
        if self._job is not None:
            self._job.cancel()
