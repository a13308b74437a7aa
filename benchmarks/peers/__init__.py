"""The same jobs done otherwise, to be measured beside ours."""
