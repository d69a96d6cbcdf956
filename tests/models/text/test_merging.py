from models.text.merging import MAX_LINES, Reading, join

BOX = (0.1, 0.1, 0.5, 0.2)
LOWER = (0.1, 0.7, 0.5, 0.8)
EDGES = [0.0, 1.5, 4.5, 7.5, 9.0]


def test_the_same_line_at_moments_in_a_row_has_one_range():
    lines = join(
        [Reading("Part 2", 0.9, BOX, 0), Reading("part 2", 0.99, BOX, 1), Reading("Part 2", 0.8, BOX, 3)], EDGES
    )
    assert [(line.text, line.score, line.ranges) for line in lines] == [("part 2", 0.99, ((0.0, 4.5), (7.5, 9.0)))]


def test_a_line_read_a_little_differently_at_one_place_is_one():
    lines = join([Reading("how to bake bread", 0.9, BOX, 0), Reading("how to bake bre4d", 0.8, BOX, 1)], EDGES)
    assert [line.text for line in lines] == ["how to bake bread"]
    apart = join([Reading("how to bake bread", 0.9, BOX, 0), Reading("how to bake bre4d", 0.8, LOWER, 1)], EDGES)
    assert len(apart) == 2


def test_two_lines_of_one_moment_are_two():
    lines = join([Reading("go", 0.9, LOWER, 0), Reading("go", 0.9, BOX, 0)], EDGES)
    assert [line.box for line in lines] == [BOX, LOWER]


def test_nothing_read():
    assert join([], []) == ()


def test_no_more_than_so_many_the_surest_first():
    readings = [Reading(f"line number {chr(65 + n // 26)}{chr(65 + n % 26)}" * 2, n / 200, BOX, 0) for n in range(150)]
    lines = join(readings, EDGES)
    assert len(lines) == MAX_LINES and min(line.score for line in lines) >= (150 - MAX_LINES) / 200 - 1e-9
