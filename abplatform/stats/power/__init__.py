"""Planning: how many units, for how long, to show what; for every method of the engine.

A ``Baseline`` is the metric's past, a ``Goal`` what shall be shown and the true effect to plan for, a test
(``FixedTest``, ``SequenceTest``, ``CountTest``, ``GroupSequentialTest``, ``LossRule``) how it will be judged.
``required_units``, ``achieved_power`` and ``detectable_size`` read the same power curve in three directions;
``plan_family`` plans a decision over several metrics and treatments; ``calendar`` turns units into days.
"""

from abplatform.stats.power.assurance import assurance
from abplatform.stats.power.baseline import Baseline, design_effect
from abplatform.stats.power.bayes import LossRule
from abplatform.stats.power.counted import CountTest
from abplatform.stats.power.counts import AlarmPlan, alarm_power, alarm_units
from abplatform.stats.power.duration import Duration, Traffic, calendar
from abplatform.stats.power.family import FamilyPlan, PlannedMetric, Requirement, plan_family
from abplatform.stats.power.fixed import FixedTest
from abplatform.stats.power.goal import Goal, Split
from abplatform.stats.power.planned import PlannedTest
from abplatform.stats.power.results import Sizing, SizingCell, Unplannable
from abplatform.stats.power.solve import achieved_power, detectable_size, required_units
from abplatform.stats.power.staged import GroupSequentialTest
from abplatform.stats.power.watched import SequenceTest

__all__ = [
    "AlarmPlan",
    "Baseline",
    "CountTest",
    "Duration",
    "FamilyPlan",
    "FixedTest",
    "Goal",
    "GroupSequentialTest",
    "LossRule",
    "PlannedMetric",
    "PlannedTest",
    "Requirement",
    "SequenceTest",
    "Sizing",
    "SizingCell",
    "Split",
    "Traffic",
    "Unplannable",
    "achieved_power",
    "alarm_power",
    "alarm_units",
    "assurance",
    "calendar",
    "design_effect",
    "detectable_size",
    "plan_family",
    "required_units",
]
