from lossearch.engine.admission import map_isolated


def test_failing_work_is_split_until_the_error_belongs_to_one_item():
    calls = []

    def inverses(numbers):
        calls.append(list(numbers))
        return [1.0 / number for number in numbers]

    results = map_isolated(inverses, [1.0, 2.0, 0.0, 4.0])
    assert results[:2] == [1.0, 0.5]
    assert isinstance(results[2], ZeroDivisionError)
    assert results[3] == 0.25
    assert calls == [[1.0, 2.0, 0.0, 4.0], [1.0, 2.0], [0.0, 4.0], [0.0], [4.0]]


def test_work_without_errors_is_not_split():
    calls = []
    assert map_isolated(lambda items: calls.append(items) or items, [1, 2, 3]) == [1, 2, 3]
    assert len(calls) == 1
    assert map_isolated(lambda items: [], []) == []
