"""What a preset's row becomes, on rows a person can work out by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

from app.domain.records import Customer, LineKind, Order, OrderLine, Record, Refund, RefundKind, Ticket
from app.sources.csv_file import CsvSource

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def read_online_retail(folder: Path, *rows: str) -> tuple[list[Record], CsvSource]:
    return read(folder, [HEADER, *rows], preset="online-retail")


def read_log(folder: Path, *lines: str, **options: object) -> tuple[list[Record], CsvSource]:
    return read(folder, lines, preset="transactions", **options)


def read(folder: Path, lines: Sequence[str], **options: object) -> tuple[list[Record], CsvSource]:
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = CsvSource([path], **options)  # type: ignore[arg-type]
    return [record for batch in source.batches() for record in batch.records], source


R = TypeVar("R")


def only(records: list[Record], kind: type[R]) -> list[R]:
    return [record for record in records if isinstance(record, kind)]


def fates(source: CsvSource) -> dict[str, tuple[int, Decimal]]:
    account = source.account
    return {key: (tally.rows, tally.money) for key, tally in (*account.taken.items(), *account.set_aside.items())}


# --- online-retail


def test_a_row_is_a_customer_an_order_and_a_line(tmp_path: Path) -> None:
    records, _ = read_online_retail(
        tmp_path, "536365,85123a,LANTERN ,6,2011-07-01 08:26:00,2.55,17850.0,United Kingdom"
    )
    eight_twenty_six_in_london = datetime(2011, 7, 1, 7, 26, tzinfo=UTC)
    assert records == [
        Customer(customer_id="17850", country="United Kingdom"),
        Order(
            order_id="536365",
            customer_id="17850",
            ordered_at=eight_twenty_six_in_london,
            order_number="536365",
            currency="GBP",
            country="United Kingdom",
        ),
        OrderLine(
            order_id="536365",
            product_id="85123A",
            quantity=Decimal(6),
            unit_price=Decimal("2.55"),
            amount=Decimal("15.30"),
            title="LANTERN",
        ),
    ]


def test_customer_and_order_are_told_once(tmp_path: Path) -> None:
    records, _ = read_online_retail(
        tmp_path, "1,A,x,1,2011-01-01 10:00,1,7,France", "1,A2,y,1,2011-01-01 10:00,1,7,France"
    )
    assert [len(only(records, kind)) for kind in (Customer, Order, OrderLine)] == [1, 1, 2]


def test_an_order_is_told_again_when_a_row_puts_it_earlier_and_a_customer_when_the_country_changes(
    tmp_path: Path,
) -> None:
    records, _ = read_online_retail(
        tmp_path,
        "1,A,x,1,2011-01-01 10:01,1,7,France",
        "1,A2,x,1,2011-01-01 10:00,1,7,Spain",
        "1,A3,x,1,2011-01-01 10:02,1,7,",
    )
    assert [order.ordered_at.minute for order in only(records, Order)] == [1, 0]
    assert [customer.country for customer in only(records, Customer)] == ["France", "Spain"]


@pytest.mark.parametrize(
    ("row", "fate", "money"),
    [
        ("1,A,x,2,2011-01-01,1.50,7,UK", "goods line", "3"),
        ("1,post,x,2,2011-01-01,1.50,7,UK", "shipping line", "3"),
        ("1,DOT,x,2,2011-01-01,1.50,7,UK", "shipping line", "3"),
        ("1,C2,x,2,2011-01-01,1.50,7,UK", "shipping line", "3"),
        ("1,m,x,2,2011-01-01,1.50,7,UK", "manual line", "3"),
        ("1,D,x,2,2011-01-01,1.50,7,UK", "manual line", "3"),
        ("C1,A,x,-2,2011-01-01,1.50,7,UK", "return", "-3"),
        ("1,A,x,-2,2011-01-01,1.50,7,UK", "return", "-3"),
        ("C1,A,x,2,2011-01-01,1.50,7,UK", "return", "3"),
        ("C1,D,x,-2,2011-01-01,1.50,7,UK", "credit", "-3"),
        ("C1,M,x,-2,2011-01-01,1.50,7,UK", "credit", "-3"),
        ("C1,POST,x,-2,2011-01-01,1.50,7,UK", "credit", "-3"),
        ("1,A,x,2,2011-01-01,0,7,UK", "price of zero", "0"),
        ("C1,A,x,-2,2011-01-01,0.0,7,UK", "price of zero", "0"),
        ("1,bank charges,x,2,2011-01-01,1.50,7,UK", "manual line", "3"),
        ("C1,CRUK,x,-2,2011-01-01,1.50,7,UK", "credit", "-3"),
        ("1,B,x,1,2011-01-01,-11062.06,,UK", "no customer id", "-11062.06"),
        ("1,A,x,2,2011-01-01,1.50,,UK", "no customer id", "3"),
        ("A1,B,x,1,2011-01-01,-11062.06,,UK", "no customer id", "-11062.06"),
        ("1,S,x,1,2011-01-01,0,,UK", "no customer id", "0"),
    ],
)
def test_each_row_has_one_fate(tmp_path: Path, row: str, fate: str, money: str) -> None:
    records, source = read_online_retail(tmp_path, row)
    assert fates(source) == {fate: (1, Decimal(money))}
    assert source.account.n_rejected == 0
    assert bool(records) == (fate != "no customer id")  # a free item makes no order, but its customer is known


def test_a_refund_is_positive_and_says_who_got_it(tmp_path: Path) -> None:
    records, _ = read_online_retail(tmp_path, "C536379,d,Discount,-1,2010-12-01 09:41:00,27.50,14527,United Kingdom")
    assert records == [
        Customer(customer_id="14527", country="United Kingdom"),
        Refund(
            document_id="C536379",
            customer_id="14527",
            product_id="D",
            quantity=Decimal(1),
            amount=Decimal("27.50"),
            refunded_at=datetime(2010, 12, 1, 9, 41, tzinfo=UTC),
            kind=RefundKind.credit,
        ),
    ]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("1,A,x,1,2011-01-01,-1,7,UK", "UnitPrice"),
        ("1,A,x,0,2011-01-01,1,7,UK", "Quantity"),
        (",A,x,1,2011-01-01,1,7,UK", "InvoiceNo"),
        ("1,,x,1,2011-01-01,1,7,UK", "StockCode"),
        ("1,A,x,1,,1,7,UK", "InvoiceDate"),
        ("1,A,x,,2011-01-01,1,7,UK", "Quantity"),
        ("1,A,x,1,2011-01-01,,7,UK", "UnitPrice"),
        ("1,A,x,1,yesterday,1,,UK", "InvoiceDate"),
        ("1,A,x,1e12,2011-01-01,1e12,7,UK", "UnitPrice"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_by_the_column_at_fault(tmp_path: Path, row: str, column: str) -> None:
    records, source = read_online_retail(tmp_path, row)
    assert records == []
    assert [(bad.row, bad.column) for bad in source.account.rejected] == [(1, column)]


def test_an_invoice_of_two_customers_counts_for_the_first_and_is_noted(tmp_path: Path) -> None:
    records, source = read_online_retail(tmp_path, "1,A,x,1,2011-01-02,1,7,UK", "1,A,x,1,2011-01-01,1,8,UK")
    assert [order.customer_id for order in only(records, Order)] == ["7", "7"]
    assert "more than one customer" in source.account.notes[-1]


# --- transactions


def test_a_log_of_who_and_when_is_enough(tmp_path: Path) -> None:
    records, source = read_log(tmp_path, "customer_id,order_date", "17850,2010-12-01 08:26:00")
    order_id = "17850@2010-12-01T08:26:00Z"
    assert records == [
        Customer(customer_id="17850"),
        Order(order_id=order_id, customer_id="17850", ordered_at=datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        OrderLine(
            order_id=order_id,
            product_id="unspecified",
            quantity=Decimal(1),
            unit_price=Decimal(0),
            amount=Decimal(0),
            kind=LineKind.manual,
        ),
    ]
    assert sum("counts 0 money" in note for note in source.account.notes) == 1


def test_rows_of_one_customer_at_the_very_same_time_are_one_order(tmp_path: Path) -> None:
    records, _ = read_log(
        tmp_path,
        "customer_id,order_date,amount",
        "a,2011-01-01 10:00,1",
        "a,2011-01-01T10:00:00Z,2",
        "a,2011-01-01 10:01,4",
        "b,2011-01-01 10:00,8",
    )
    assert len(only(records, Order)) == 3
    assert len(only(records, OrderLine)) == 4


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    records, _ = read_log(
        tmp_path,
        "CustomerKey;Bought On;Total;E-Mail;product",
        "a;2011-01-01;1.234,50; Ann@Example.ORG ;tea",
        mapping={"customer_id": "customerkey", "order_date": "Bought On", "amount": "Total", "email": "E-Mail"},
        store_timezone="America/New_York",
    )
    customer, order, line = records
    assert isinstance(customer, Customer) and customer.email == "ann@example.org"
    assert isinstance(order, Order) and order.ordered_at == datetime(2011, 1, 1, 5, tzinfo=UTC)
    assert isinstance(line, OrderLine) and (line.amount, line.product_id, line.kind) == (
        Decimal("1234.50"),
        "tea",
        LineKind.goods,
    )


@pytest.mark.parametrize(
    ("columns", "row", "amount"),
    [
        ("amount,quantity,price,discount", "9.99,2,10,1", "9.99"),
        ("quantity,price,discount", "2,10,1.5", "18.5"),
        ("quantity,price", "3,0.33335", "1.0000"),  # 1.00005, half to even
        ("quantity,price", "3,0.33345", "1.0004"),  # 1.00035, half to even
        ("price", "10", "10"),
        ("amount,price", ",10", "10"),
        ("quantity", "5", "0"),
    ],
)
def test_money_is_the_amount_else_quantity_times_price_less_discount(
    tmp_path: Path, columns: str, row: str, amount: str
) -> None:
    records, source = read_log(tmp_path, f"customer_id,order_date,{columns}", f"a,2011-01-01,{row}")
    (line,) = only(records, OrderLine)
    assert line.amount == Decimal(amount) == source.account.read.money


@pytest.mark.parametrize(
    ("columns", "row", "amount"),
    [
        ("amount", "-5", "5"),
        ("amount,quantity", "5,-1", "5"),
        ("amount,quantity", "-5,-1", "5"),
        ("quantity,price,discount", "-2,10,1", "19"),
    ],
)
def test_money_below_zero_or_a_quantity_below_zero_is_a_return(
    tmp_path: Path, columns: str, row: str, amount: str
) -> None:
    records, source = read_log(tmp_path, f"customer_id,order_date,order_id,{columns}", f"a,2011-01-01,R1,{row}")
    (refund,) = only(records, Refund)
    assert (refund.document_id, refund.amount, refund.kind) == ("R1", Decimal(amount), RefundKind.returned)
    assert source.account.read.money == -Decimal(amount)


@pytest.mark.parametrize(
    ("columns", "row", "column"),
    [
        ("amount", "", "amount"),
        ("price", "", "price"),
        ("price", "-1", "price"),
        ("quantity", "0", "quantity"),
        ("price,discount", "1,2", "discount"),
        ("amount,discount", "1,-2", "discount"),
    ],
)
def test_money_that_makes_no_sense_is_rejected(tmp_path: Path, columns: str, row: str, column: str) -> None:
    _, source = read_log(tmp_path, f"customer_id,order_date,{columns}", f"a,2011-01-01,{row}")
    assert [bad.column for bad in source.account.rejected] == [column]


def test_a_rejected_row_does_not_use_up_its_order_and_customer(tmp_path: Path) -> None:
    records, _ = read_log(tmp_path, "customer_id,order_date,order_id,amount", "a,2011-01-01,1,x", "a,2011-01-01,1,5")
    assert [type(record) for record in records] == [Customer, Order, OrderLine]


# --- tickets


def read_tickets(folder: Path, *lines: str, **options: object) -> tuple[list[Record], CsvSource]:
    return read(folder, lines, preset="tickets", **options)


ALL_OF_A_TICKET = "ticket_id,customer_id,created_at,channel,topic,status,resolved_at,satisfaction"


def test_a_row_of_the_helpdesk_is_a_customer_and_a_ticket(tmp_path: Path) -> None:
    records, source = read_tickets(
        tmp_path, ALL_OF_A_TICKET, "T1,ada,2024-03-01 10:00,Live chat,Returns,solved,2024-03-02 11:30,4.0"
    )
    opened, resolved = datetime(2024, 3, 1, 10, tzinfo=UTC), datetime(2024, 3, 2, 11, 30, tzinfo=UTC)
    ticket = Ticket("T1", "ada", opened, "Live chat", "Returns", "solved", resolved, 4)
    assert records == [Customer("ada"), ticket]
    assert fates(source) == {"ticket": (1, Decimal(0))}
    assert source.account.notes == []


def test_who_when_and_an_id_are_enough_of_a_ticket_and_the_lack_of_an_end_is_noted(tmp_path: Path) -> None:
    records, source = read_tickets(
        tmp_path,
        "Case,Client,Opened",
        "7,ada,2024-03-01",
        "8,ada,2024-03-02",
        mapping={"ticket_id": "Case", "customer_id": "Client", "created_at": "Opened"},
    )
    assert [type(record) for record in records] == [Customer, Ticket, Ticket]
    assert only(records, Ticket)[0] == Ticket("7", "ada", datetime(2024, 3, 1, tzinfo=UTC))
    (note,) = source.account.notes
    assert "no resolved_at column" in note and "--map resolved_at=COLUMN" in note


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("T1,ada,2024-03-01,chat,x,open,,6", "satisfaction"),
        ("T1,ada,2024-03-01,chat,x,open,,0", "satisfaction"),
        ("T1,ada,2024-03-01,chat,x,open,,3.5", "satisfaction"),
        ("T1,ada,2024-03-01,chat,x,open,,good", "satisfaction"),
        ("T1,ada,2024-03-01,chat,x,open,soon,", "resolved_at"),
        ("T1,ada,,chat,x,open,,", "created_at"),
        ("T1,,2024-03-01,chat,x,open,,", "customer_id"),
        (",ada,2024-03-01,chat,x,open,,", "ticket_id"),
    ],
)
def test_a_ticket_that_cannot_be_used_is_rejected_by_the_column_at_fault(tmp_path: Path, row: str, column: str) -> None:
    records, source = read_tickets(tmp_path, ALL_OF_A_TICKET, row, "T2,ada,2024-03-01,,,,,5")
    (bad,) = source.account.rejected
    assert (bad.column, bad.row) == (column, 1) and bad.reason
    assert [ticket.ticket_id for ticket in only(records, Ticket)] == ["T2"]
