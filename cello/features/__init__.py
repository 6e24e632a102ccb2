"""The switches: one module (or folder) for each `App.enable_…`, imported when it is thrown."""
