import os

# Tests run uploads in threads of this process: see scripts/cli.py. pytest-randomly has loaded NumPy by now, which so
# has to be told; what is loaded later reads the environment.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

threadpool_limits(1, "blas")

# A loaded machine draws slowly; that is not what these tests are about. Derandomised: the same examples each run.
settings.register_profile("tagfarm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tagfarm")
