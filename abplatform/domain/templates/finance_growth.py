"""From the first visit to the money and the friends: what growth in internet finance is measured by.

Every window begins with the first exposure and has an end, so that all units are seen for equally long. Amounts are
capped at the 99th percentile of those that are not 0: one whale must not decide. All are per customer in the
experiment, active or not, since who becomes active is part of what a variant does.
"""

from __future__ import annotations

from datetime import timedelta

from abplatform.domain.metric import Cap, Measure, Metric, Step, Window
from abplatform.domain.templates import finance_events as events
from abplatform.domain.templates.template import Template

_WEEK, _FORTNIGHT, _MONTH, _QUARTER, _YEAR = (Window(end=timedelta(days=days)) for days in (7, 14, 30, 90, 365))
_WHALES = Cap(quantile=0.99)

ACQUISITION = (
    Template(
        stage="acquisition",
        metric=Metric(
            key="registration",
            name="Registration",
            description="Share of visitors who register within 7 days.",
            kind="conversion",
            event=events.REGISTERED.name,
            window=_WEEK,
        ),
        name_zh="注册率",
        description_zh="首次曝光后 7 天内完成注册的访客占比。",
        events=(events.REGISTERED,),
    ),
    Template(
        stage="acquisition",
        metric=Metric(
            key="account-opened",
            name="Account opened",
            description="Share of customers whose account is open within 14 days.",
            kind="conversion",
            event=events.ACCOUNT_OPENED.name,
            window=_FORTNIGHT,
        ),
        name_zh="开户率",
        description_zh="首次曝光后 14 天内开户成功的客户占比。",
        events=(events.ACCOUNT_OPENED,),
    ),
    Template(
        stage="acquisition",
        metric=Metric(
            key="account-opening-funnel",
            name="Account-opening funnel",
            description="Share of customers who take all steps in order within 14 days: they begin to open an account, "
            "pass the identity check, bind a card, and have the account open. The results show each step.",
            kind="funnel",
            steps=(
                Step(event=events.OPENING_STARTED.name),
                Step(event=events.IDENTITY_VERIFIED.name),
                Step(event=events.CARD_BOUND.name),
                Step(event=events.ACCOUNT_OPENED.name),
            ),
            window=_FORTNIGHT,
        ),
        name_zh="开户漏斗转化率",
        description_zh="首次曝光后 14 天内依次完成全部步骤的客户占比："
        "进入开户流程、通过身份核验、绑定银行卡、开户成功。结果中逐步展示。",
        events=(events.OPENING_STARTED, events.IDENTITY_VERIFIED, events.CARD_BOUND, events.ACCOUNT_OPENED),
    ),
    Template(
        stage="acquisition",
        metric=Metric(
            key="time-to-account-opening",
            name="Time to account opening",
            description="Median time from the first exposure to the open account. Who has none after 14 days counts as "
            "slower than all others: expose customers where the account opening begins, so that most get there.",
            kind="time_to",
            event=events.ACCOUNT_OPENED.name,
            quantile=0.5,
            direction="decrease",
            window=_FORTNIGHT,
        ),
        name_zh="开户时长（中位数）",
        description_zh="从首次曝光到开户成功的时长中位数。14 天内未开户的客户计为比所有人都慢；"
        "请在开户流程入口处曝光，使多数客户能够完成。",
        events=(events.ACCOUNT_OPENED,),
    ),
)

ACTIVATION = (
    Template(
        stage="activation",
        metric=Metric(
            key="first-transaction",
            name="First transaction",
            description="Share of customers who settle the first transaction of their life here within 30 days.",
            kind="conversion",
            event=events.TRANSACTION.name,
            where={"first": True},
            window=_MONTH,
        ),
        name_zh="首笔交易率",
        description_zh="首次曝光后 30 天内完成首笔交易的客户占比。",
        events=(events.TRANSACTION,),
    ),
)

RETENTION = (
    Template(
        stage="retention",
        metric=Metric(
            key="next-day-retention",
            name="Next-day retention",
            description="Share of customers who come back on the calendar day after their first exposure.",
            kind="retention",
            event=events.SESSION.name,
            window=Window(start=timedelta(days=1), end=timedelta(days=2), calendar=True),
        ),
        name_zh="次日留存率",
        description_zh="首次曝光次日（自然日）再次访问的客户占比。",
        events=(events.SESSION,),
    ),
    Template(
        stage="retention",
        metric=Metric(
            key="monthly-activity",
            name="Monthly activity",
            description="Share of customers who come back at least once in the 30 calendar days after the day of their "
            "first exposure. The day itself does not count: everybody was there.",
            kind="retention",
            event=events.SESSION.name,
            window=Window(start=timedelta(days=1), end=timedelta(days=31), calendar=True),
        ),
        name_zh="月活跃率",
        description_zh="首次曝光次日起 30 个自然日内至少再次访问一次的客户占比。曝光当日人人都在，不计入。",
        events=(events.SESSION,),
    ),
)

REVENUE = (
    Template(
        stage="revenue",
        metric=Metric(
            key="purchase",
            name="Purchase",
            description="Share of customers who purchase any product within 30 days.",
            kind="conversion",
            event=events.PURCHASE.name,
            window=_MONTH,
        ),
        name_zh="购买率",
        description_zh="首次曝光后 30 天内购买任一产品的客户占比。",
        events=(events.PURCHASE,),
    ),
    Template(
        stage="revenue",
        metric=Metric(
            key="arpu",
            name="Revenue per customer (ARPU), 30 days",
            description="Revenue booked within 30 days, per customer in the experiment, whether active or not.",
            kind="sum",
            event=events.REVENUE.name,
            window=_MONTH,
            cap=_WHALES,
        ),
        name_zh="30 天户均收入（ARPU）",
        description_zh="首次曝光后 30 天内入账的收入，按实验内全部客户平均（含不活跃客户）。",
        events=(events.REVENUE,),
    ),
    *(
        Template(
            stage="revenue",
            metric=Metric(
                key=f"ltv-{window.end.days}",
                name=f"Realised customer value (LTV), {window.end.days} days",
                description=f"What customers have contributed within {window.end.days} days after their direct costs. "
                "It counts what has been booked; it forecasts nothing.",
                kind="sum",
                event=events.REVENUE.name,
                value="contribution",
                window=window,
                cap=_WHALES,
                outcome=outcome,
            ),
            name_zh=f"{window.end.days} 天已实现客户价值（LTV）",
            description_zh=f"首次曝光后 {window.end.days} 天内扣除直接成本后的客户贡献。只计已入账部分，不作任何预测。",
            events=(events.REVENUE,),
        )
        for window, outcome in ((_MONTH, "ltv-90"), (_QUARTER, "ltv-365"), (_YEAR, None))
    ),
    Template(
        stage="revenue",
        metric=Metric(
            key="aum",
            name="Assets under management at day 30",
            description="The last balance within 30 days, per customer; 0 for those without an account. With CUPED the "
            "balance before the first exposure is taken into account: what is compared then is growth.",
            kind="sum",
            event=events.BALANCE.name,
            aggregation="last",
            window=_MONTH,
            cap=_WHALES,
        ),
        name_zh="第 30 天管理资产规模（AUM）",
        description_zh="首次曝光后 30 天内最后一次观测到的户均资产余额，未开户客户计为 0。启用 CUPED "
        "后会扣除曝光前余额的影响，比较的即为资产增长。",
        events=(events.BALANCE,),
    ),
    Template(
        stage="revenue",
        metric=Metric(
            key="holding-period",
            name="Holding period (first quarter to redeem)",
            description="Time from a purchase until a quarter of customers has redeemed, within 90 days. Who still "
            "holds counts as longer than all others, and so does who never purchased: expose customers where they "
            "purchase.",
            kind="time_to",
            event=events.REDEMPTION.name,
            start=Measure(event=events.PURCHASE.name),
            quantile=0.25,
            window=_QUARTER,
        ),
        name_zh="持有期（前四分之一赎回时长）",
        description_zh="从购买到四分之一客户赎回的时长，观察首次曝光后 90 天。仍持有者计为比所有人都长，"
        "未购买者亦同；请在购买环节曝光。",
        events=(events.PURCHASE, events.REDEMPTION),
    ),
    Template(
        stage="revenue",
        metric=Metric(
            key="cross-sell",
            name="Cross-sell",
            description="Share of customers who purchase from a category of products of which they held nothing "
            "before, within 90 days.",
            kind="conversion",
            event=events.PURCHASE.name,
            where={"new_category": True},
            window=_QUARTER,
        ),
        name_zh="交叉销售率",
        description_zh="首次曝光后 90 天内购买此前未持有类别产品的客户占比。",
        events=(events.PURCHASE,),
    ),
)

REFERRAL = (
    Template(
        stage="referral",
        metric=Metric(
            key="invitation-sent",
            name="Invitation sent",
            description="Share of customers who send at least one invitation within 30 days.",
            kind="conversion",
            event=events.INVITATION_SENT.name,
            window=_MONTH,
            spills_over=True,
        ),
        name_zh="邀请率",
        description_zh="首次曝光后 30 天内至少发出一次邀请的客户占比。",
        events=(events.INVITATION_SENT,),
    ),
    Template(
        stage="referral",
        metric=Metric(
            key="invited-registrations",
            name="Invited registrations",
            description="Registrations by invitation within 30 days, per customer who may invite. Capped, so that a "
            "few who invite for the bonus do not decide.",
            kind="count",
            event=events.INVITED_REGISTERED.name,
            window=_MONTH,
            spills_over=True,
            cap=_WHALES,
        ),
        name_zh="人均邀请注册数",
        description_zh="首次曝光后 30 天内通过邀请带来的注册人数，按可邀请客户平均。设有上限，"
        "避免少数刷奖励者左右结果。",
        events=(events.INVITED_REGISTERED,),
    ),
)

GROWTH = (*ACQUISITION, *ACTIVATION, *RETENTION, *REVENUE, *REFERRAL)
