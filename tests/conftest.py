from hypothesis import HealthCheck, settings

# A loaded machine draws slowly; that is not what these tests are about. Derandomised: the same examples each run.
settings.register_profile("tagfarm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tagfarm")
