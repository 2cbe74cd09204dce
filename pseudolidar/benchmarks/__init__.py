"""Speed and memory on this machine, each contender beside the code that people would otherwise use."""
