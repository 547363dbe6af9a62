"""Reconciles of several runs that overlap: no artifact is started twice, and runs that wait are woken."""

import asyncio
import itertools

import pytest
from cluster.conftest import FakeClient
