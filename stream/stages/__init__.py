"""The stages that frames pass through, for files and live feeds alike.

`stream.stages.build` puts them together for what the options ask."""
