"""Tasks, one file a family. To add one, write a function that returns a `Task` and name it in `suites`."""
