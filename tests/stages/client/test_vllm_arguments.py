"""The arguments that a run may pass to vLLM, against the parser of the vLLM that ships."""

import pytest

from fusionrun.api.models import ALLOWED_VLLM_ARGS


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_vllm_has_every_argument_that_a_run_may_set():
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    known = make_arg_parser(FlexibleArgumentParser())._option_string_actions
    assert sorted(ALLOWED_VLLM_ARGS - known.keys()) == []
