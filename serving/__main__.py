"""Start the API: `python -m serving`."""

import gc

# Imports leave hardly any garbage, and to look for it takes a tenth of the start. `serving.start` looks for it again.
gc.disable()

from serving.start import main  # noqa: E402

if __name__ == "__main__":
    main()
