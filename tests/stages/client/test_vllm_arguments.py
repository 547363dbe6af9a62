"""The vLLM arguments that a run may set, checked with vLLM's parser."""

import pytest

from fusionrun.api.spec.servers import ALLOWED_VLLM_ARGS


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_vllm_accepts_every_allowed_argument():
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    known = make_arg_parser(FlexibleArgumentParser())._option_string_actions
    assert sorted(ALLOWED_VLLM_ARGS - known.keys()) == []
