"""Mutations of the Python client: its limits, its retries and its errors."""

from __future__ import annotations

from .mutation import mutation

ADMISSION_TESTS = "tests/client/test_admission.py"
REPORTED_ERROR_TESTS = "tests/client/test_reported_errors.py"
RETRY_TESTS = "tests/client/test_retries.py"
SILENT_TESTS = "tests/client/test_silent_nodes.py"

CLIENT = (
    mutation(
        "a client accepts any number of operations",
        0,
        "client/admission.py",
        "            self._operations < self._limit\n",
        "            self._operations >= 0\n",
        ADMISSION_TESTS,
    ),
    mutation(
        "an operation that ends before it is sent keeps its place in the client's limit",
        0,
        "client/admission.py",
        "        elif not turn.cancelled() and turn.exception() is None:\n            self.leave(size_bytes)\n",
        "",
        f"{ADMISSION_TESTS}::test_what_is_given_up_leaves_its_place_to_the_next",
    ),
    mutation(
        "a client asks as much of nodes that refuse for load as of others",
        0,
        "client/admission.py",
        "self._limit = max(MIN_IN_HAND_OPERATIONS, min(self._limit, self._operations) // 2)",
        "pass",
        ADMISSION_TESTS,
    ),
    mutation(
        "a write that may have been applied is tried again",
        0,
        "client/dispatch.py",
        "if error.maybe_applied or not isinstance(error, _ELSEWHERE):",
        "if not isinstance(error, _ELSEWHERE):",
        RETRY_TESTS,
    ),
    mutation(
        "a write is sent to a silent node while another node refuses it",
        0,
        "client/dispatch.py",
        "return None if any(map(is_answer, tried.values())) else address",
        "return address",
        SILENT_TESTS,
    ),
    mutation(
        "a silent node is never asked whether it answers again",
        0,
        "client/topology_learner.py",
        "[*self._router.silent, *self._cluster.doubtful]",
        "[*self._cluster.doubtful]",
        SILENT_TESTS,
    ),
    mutation(
        "of many silent nodes only the first are asked whether they answer again",
        0,
        "client/topology_learner.py",
        "self._rng.sample(unsure, min(MAX_CHECKED, len(unsure)))",
        "unsure[:MAX_CHECKED]",
        f"{SILENT_TESTS}::test_of_many_silent_nodes_each_is_asked_in_its_turn",
    ),
    mutation(
        "a node that served in the millisecond in which an operation began is not at fault for it",
        0,
        "client/routing.py",
        "served_s > instant_s",
        "served_s >= instant_s",
        "tests/client/test_routing.py",
    ),
    mutation(
        "the last failure is reported, although another node knew the reason",
        0,
        "client/dispatch.py",
        "_informativeness(error) >= _informativeness(self._reason)",
        "_informativeness(error) >= 0",
        REPORTED_ERROR_TESTS,
    ),
    mutation(
        "a client keeps its connections when the process forks",
        0,
        "client/session.py",
        "        await self._links.disconnect()\n",
        "",
        "tests/cluster/test_forks.py::test_a_program_that_forks[idle]",
    ),
    mutation(
        "a client is used in a child although gRPC was in use at the fork",
        0,
        "client/forking.py",
        "        _state.unusable = True\n",
        "",
        "tests/cluster/test_forks.py::test_a_program_that_forks[loop_that_forks]",
    ),
)
