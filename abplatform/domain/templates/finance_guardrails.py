"""What growth in internet finance must not cost: trust, customers, credit quality, safety, speed.

Shares of customers are preferred, since harm to them is found by exact tests from the first event on. Where more
business alone would mean more of it, it is a ratio to that business. Credit needs time to go bad: its windows are long
enough for a loan to become 90 days overdue, and an early sign points to what comes late.
"""

from __future__ import annotations

from datetime import timedelta

from abplatform.domain.experiment import Amount
from abplatform.domain.metric import Measure, Metric, Window
from abplatform.domain.templates import finance_events as events
from abplatform.domain.templates.template import Template

_MONTH = Window(end=timedelta(days=30))


GUARDRAILS = (
    Template(
        stage="guardrail",
        metric=Metric(
            key="complaint",
            name="Complaint rate",
            description="Share of customers who complain within 30 days, by any channel.",
            kind="conversion",
            event=events.COMPLAINT.name,
            direction="decrease",
            window=_MONTH,
        ),
        margin=Amount(absolute=0.001),
        name_zh="投诉率",
        description_zh="首次曝光后 30 天内通过任一渠道投诉的客户占比。",
        events=(events.COMPLAINT,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="churn",
            name="Churn",
            description="Share of customers who leave within 90 days: they close the account, or redeem everything. "
            "Who merely stays away has not left. Who has no account cannot leave: target those who have one.",
            kind="conversion",
            event=events.RELATIONSHIP_ENDED.name,
            where={"how": ["account-closed", "all-redeemed"]},
            direction="decrease",
            window=Window(end=timedelta(days=90)),
        ),
        margin=Amount(absolute=0.005),
        name_zh="流失率",
        description_zh="首次曝光后 90 天内销户或全部赎回的客户占比。仅仅不活跃不算流失。新客无从流失，"
        "请面向已开户客户使用。",
        events=(events.RELATIONSHIP_ENDED,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="refund",
            name="Refund rate",
            description="Purchases that are taken back within 30 days, per purchase: selling more alone does not "
            "raise it.",
            kind="ratio",
            event=events.REFUND.name,
            aggregation="count",
            denominator=Measure(event=events.PURCHASE.name, aggregation="count"),
            direction="decrease",
            window=_MONTH,
        ),
        margin=Amount(absolute=0.005),
        name_zh="退款率",
        description_zh="首次曝光后 30 天内退款笔数与购买笔数之比。销量增加本身不会推高该指标。",
        events=(events.REFUND, events.PURCHASE),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="bad-debt",
            name="Bad-debt rate (90 days past due)",
            description="Share of customers with a loan that becomes 90 or more days overdue within 180 days. Only "
            "those whose first exposure is 180 days ago count: a younger loan cannot have gone bad yet. A variant "
            "that lends to more people has more of it: target those who borrow, or read it beside what was lent.",
            kind="conversion",
            event=events.OVERDUE.name,
            where={"days_past_due": {"$gte": 90}},
            direction="decrease",
            window=Window(end=timedelta(days=180)),
            minimum_age=timedelta(days=180),
        ),
        margin=Amount(absolute=0.002),
        name_zh="坏账率（逾期 90 天以上）",
        description_zh="首次曝光后 180 天内有贷款逾期达到 90 天以上的客户占比。仅统计曝光满 180 天的客户："
        "更短的时间内贷款尚无从形成坏账。放款面扩大会推高该指标，请面向借款客户使用，或与放款规模一并解读。",
        events=(events.OVERDUE,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="early-overdue",
            name="Early overdue rate (30 days past due)",
            description="Share of customers with a loan that becomes 30 or more days overdue within 90 days: an early "
            "sign of bad debt, which shows months later. Not all of it goes bad, and not all that goes bad shows here.",
            kind="conversion",
            event=events.OVERDUE.name,
            where={"days_past_due": {"$gte": 30}},
            direction="decrease",
            window=Window(end=timedelta(days=90)),
            minimum_age=timedelta(days=90),
            outcome="bad-debt",
        ),
        margin=Amount(absolute=0.005),
        name_zh="早期逾期率（逾期 30 天以上）",
        description_zh="首次曝光后 90 天内有贷款逾期达到 30 天以上的客户占比，是数月后坏账的先行指标。"
        "早期逾期不必然形成坏账，坏账也未必都先在此显现。",
        events=(events.OVERDUE,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="fraud-interception",
            name="Fraud-interception rate",
            description="Transactions that were stopped as fraud within 30 days, per transaction checked. More of them "
            "mean that a variant draws fraudsters, or that honest customers are stopped: look into both.",
            kind="ratio",
            event=events.FRAUD_CHECK.name,
            where={"intercepted": True},
            aggregation="count",
            denominator=Measure(event=events.FRAUD_CHECK.name, aggregation="count"),
            direction="decrease",
            window=_MONTH,
        ),
        margin=Amount(absolute=0.002),
        name_zh="欺诈拦截率",
        description_zh="首次曝光后 30 天内被反欺诈拦截的交易占受检交易的比例。上升意味着方案吸引了欺诈者，"
        "或误拦了正常客户，两者都应核查。",
        events=(events.FRAUD_CHECK,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="latency-p95",
            name="Latency (95th percentile)",
            description="The time that 95% of page loads within 7 days stay below, in milliseconds.",
            kind="quantile",
            event=events.PAGE_LOADED.name,
            over="events",
            quantile=0.95,
            direction="decrease",
            window=Window(end=timedelta(days=7)),
        ),
        margin=Amount(relative=0.05),
        name_zh="页面耗时（P95）",
        description_zh="首次曝光后 7 天内页面加载耗时的 95 分位数，单位：毫秒。",
        events=(events.PAGE_LOADED,),
    ),
    Template(
        stage="guardrail",
        metric=Metric(
            key="unsubscribe",
            name="Unsubscribe rate",
            description="Share of customers who turn off marketing messages within 30 days.",
            kind="conversion",
            event=events.UNSUBSCRIBED.name,
            direction="decrease",
            window=_MONTH,
        ),
        margin=Amount(absolute=0.002),
        name_zh="退订率",
        description_zh="首次曝光后 30 天内关闭营销消息的客户占比。",
        events=(events.UNSUBSCRIBED,),
    ),
)
