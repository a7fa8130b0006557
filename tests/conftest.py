# concurrent.futures loads this when somebody asks, and keeps the class. If that is a session of pytester's, which takes
# what it imported out of sys.modules again, no executor of processes can pickle its worker from then on.
import concurrent.futures.process  # noqa: F401

pytest_plugins = ["pytester"]
