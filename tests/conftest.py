"""What holds for every test."""

import hypothesis

# A busy machine makes any example slow now and then; pytest's own timeout is the limit.
hypothesis.settings.register_profile("tutti", deadline=None)
hypothesis.settings.load_profile("tutti")
