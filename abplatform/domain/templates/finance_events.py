"""The events of a product of internet finance that the templates read.

Each is sent by the back end once the fact is final, under the id of the customer whom it is about. Amounts are in the
one currency in which the project keeps its accounts.
"""

from __future__ import annotations

from abplatform.domain.templates.template import ExpectedEvent, ExpectedProperty, Words

REGISTERED = ExpectedEvent(
    name="registered",
    meaning=Words(
        en="A customer has registered: the mobile number is verified and the login exists.",
        zh="客户完成注册：手机号已验证，登录账号已建立。",
    ),
)
OPENING_STARTED = ExpectedEvent(
    name="account-opening-started",
    meaning=Words(
        en="A customer has entered the flow that opens an account.",
        zh="客户进入开户流程。",
    ),
)
IDENTITY_VERIFIED = ExpectedEvent(
    name="identity-verified",
    meaning=Words(
        en="The identity check (real name, document, face) was passed.",
        zh="客户通过身份核验（实名、证件、人脸）。",
    ),
)
CARD_BOUND = ExpectedEvent(
    name="card-bound",
    meaning=Words(
        en="A bank card was bound to the account and verified.",
        zh="客户成功绑定并验证银行卡。",
    ),
)
ACCOUNT_OPENED = ExpectedEvent(
    name="account-opened",
    meaning=Words(
        en="The account is open: the customer can pay in and trade.",
        zh="开户成功：客户可以入金和交易。",
    ),
)
TRANSACTION = ExpectedEvent(
    name="transaction",
    meaning=Words(
        en="A transaction that the customer ordered has settled: a payment, transfer, purchase or redemption.",
        zh="客户发起的一笔交易已完成清算：支付、转账、申购或赎回。",
    ),
    properties={
        "first": ExpectedProperty(
            type="boolean",
            meaning=Words(
                en="Whether it is the first one that this customer ever settled.",
                zh="是否为该客户历史上的首笔完成交易。",
            ),
        )
    },
)
SESSION = ExpectedEvent(
    name="session-started",
    meaning=Words(
        en="A customer has opened the app or site, logged in.",
        zh="客户在登录状态下打开应用或网站。",
    ),
)
PURCHASE = ExpectedEvent(
    name="purchase",
    meaning=Words(
        en="A purchase of a product was confirmed: a fund, deposit, insurance policy or loan.",
        zh="一笔产品购买已确认：基金、存款、保险或贷款。",
    ),
    properties={
        "new_category": ExpectedProperty(
            type="boolean",
            meaning=Words(
                en="Whether the customer held nothing of this category of products before.",
                zh="该客户此前是否未持有该类别的任何产品。",
            ),
        )
    },
)
REDEMPTION = ExpectedEvent(
    name="redemption",
    meaning=Words(
        en="A redemption was confirmed: the customer has cashed in a product that was bought, or part of it.",
        zh="一笔赎回已确认：客户赎回其购买的产品（全部或部分）。",
    ),
)
REVENUE = ExpectedEvent(
    name="revenue",
    meaning=Words(
        en="Revenue from a customer was booked: fees, commissions, net interest. Reversals are negative.",
        zh="来自客户的一笔收入已入账：手续费、佣金、净利息收入。冲销记为负数。",
    ),
    value=Words(en="the amount booked, in the project's currency", zh="入账金额，以项目币种计"),
    properties={
        "contribution": ExpectedProperty(
            type="number",
            meaning=Words(
                en="What is left of it after the costs of this customer (incentives, channel fees, funding, expected "
                "credit losses), in the project's currency; may be negative. Costs without revenue are sent with "
                "value 0.",
                zh="扣除该客户直接成本（营销补贴、渠道费用、资金成本、预期信用损失）后的余额，以项目币种计，可为负数。"
                "没有收入的成本以 value 为 0 上报。",
            ),
        )
    },
)
BALANCE = ExpectedEvent(
    name="balance",
    meaning=Words(
        en="The assets that a customer holds at the end of a day, sent every day for every customer who has an "
        "account, also where nothing has changed or the balance is 0.",
        zh="客户日终持有的资产余额。每日为每位已开户客户上报，余额未变或为 0 时也要上报。",
    ),
    value=Words(en="assets under management, in the project's currency", zh="管理资产规模，以项目币种计"),
)
INVITATION_SENT = ExpectedEvent(
    name="invitation-sent",
    meaning=Words(
        en="A customer has sent an invitation. It is about the one who invites.",
        zh="客户发出一次邀请。以邀请人的 id 上报。",
    ),
)
INVITED_REGISTERED = ExpectedEvent(
    name="invited-registered",
    meaning=Words(
        en="Somebody has registered by an invitation. It is about the one who invited, once for each who came.",
        zh="有人通过邀请完成注册。以邀请人的 id 上报，每位受邀人一次。",
    ),
)
COMPLAINT = ExpectedEvent(
    name="complaint",
    meaning=Words(
        en="A customer has complained, by any channel: hotline, app, branch, regulator.",
        zh="客户通过任一渠道投诉：热线、应用内、网点、监管转办。",
    ),
)
RELATIONSHIP_ENDED = ExpectedEvent(
    name="relationship-ended",
    meaning=Words(
        en="A customer has left: the account was closed, or all holdings were redeemed and the balance is 0.",
        zh="客户流失：已销户，或已全部赎回且余额为 0。",
    ),
    properties={
        "how": ExpectedProperty(
            type="string",
            meaning=Words(
                en="`account-closed` or `all-redeemed`", zh="`account-closed`（销户）或 `all-redeemed`（全部赎回）"
            ),
        )
    },
)
REFUND = ExpectedEvent(
    name="refund",
    meaning=Words(
        en="A purchase was taken back and paid back, such as within the cooling-off period; once for each purchase.",
        zh="一笔购买已撤销并退款，例如在犹豫期内退保；每笔购买一次。",
    ),
)
OVERDUE = ExpectedEvent(
    name="loan-overdue",
    meaning=Words(
        en="A loan of the customer has become overdue by one more threshold: 1, 30, 60 and 90 days past due.",
        zh="客户的一笔贷款逾期达到新的档位：逾期 1、30、60、90 天。",
    ),
    properties={
        "days_past_due": ExpectedProperty(
            type="number", meaning=Words(en="the threshold, in days", zh="逾期档位，单位：天")
        )
    },
)
FRAUD_CHECK = ExpectedEvent(
    name="fraud-checked",
    meaning=Words(
        en="The rules or models against fraud have judged a transaction that a customer ordered, before it settles.",
        zh="反欺诈规则或模型对客户发起的一笔交易作出判定（清算之前）。",
    ),
    properties={
        "intercepted": ExpectedProperty(
            type="boolean",
            meaning=Words(en="Whether the transaction was stopped.", zh="该笔交易是否被拦截。"),
        )
    },
)
PAGE_LOADED = ExpectedEvent(
    name="page-loaded",
    meaning=Words(
        en="A page or screen that the experiment touches has loaded, as measured on the customer's device.",
        zh="实验涉及的页面加载完成，以客户端测得为准。",
    ),
    value=Words(en="time until it could be used, in milliseconds", zh="到可交互为止的耗时，单位：毫秒"),
)
UNSUBSCRIBED = ExpectedEvent(
    name="unsubscribed",
    meaning=Words(
        en="A customer has turned off marketing messages: push, SMS or e-mail.",
        zh="客户关闭营销消息：推送、短信或邮件。",
    ),
)
