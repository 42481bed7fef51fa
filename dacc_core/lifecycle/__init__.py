"""A session's way from its goal to its observed state.

:mod:`.plan`, :mod:`.policy`, :mod:`.transitions` and :mod:`.finalize` decide and are pure; :mod:`.reconciler` does what they decide, as one
of the parts of :mod:`.engine`; :mod:`.step_runner` runs the steps.
"""
