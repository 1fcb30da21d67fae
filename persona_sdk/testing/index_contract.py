"""The contract of `persona_sdk.index.VectorIndex`, as tests.

A plugin author puts this into their own tests and runs pytest:

    import pytest
    from persona_sdk.testing import IndexContract
    from my_plugin import MyIndex

    class TestMyIndex(IndexContract):
        @pytest.fixture
        def index(self, tmp_path):
            index = MyIndex(tmp_path / "store")
            yield index
            index.close()

        def reopen(self, index):          # leave it out if nothing is kept once the index is closed
            index.close()
            return MyIndex(index.path)

An index on a shared server may be given with collections of other tests in it: each test uses names of its own.
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_sdk.errors import IndexUnavailableError, InputError
from persona_sdk.index import Found, Stamped, VectorIndex, Vectors
from persona_sdk.testing.memory_strategies import ODD_IDS, in_threads, searching

__all__ = ["IndexContract"]

# One plugin may be held to this in several subclasses.
_searching = settings(
    searching, suppress_health_check=[*searching.suppress_health_check, HealthCheck.differing_executors]
)
_DIMENSIONS = 8
#: More than any engine known takes at once.
_LARGE = 6000

_one = st.lists(st.integers(-3, 3), min_size=_DIMENSIONS, max_size=_DIMENSIONS)
_key = st.integers(0, 11).map("{:064x}".format)
_operation = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(_key, st.tuples(_one, st.integers(0, 2**63 - 1)), min_size=1)),
    st.tuples(st.just("remove"), st.lists(_key, max_size=4)),
    st.tuples(st.just("nearest"), st.tuples(_one, st.integers(0, 15))),
    st.tuples(st.just("drop"), st.none()),
)


def new_name() -> str:
    """Return the name of a collection that was never used before."""
    return f"tenant {uuid.uuid4().hex}"


def some_vectors(count: int, dimensions: int = _DIMENSIONS, seed: int = 5) -> Vectors:
    """Return random vectors."""
    return np.random.default_rng(seed).standard_normal((count, dimensions), dtype=np.float32)


def keys_of(count: int) -> list[str]:
    """Return keys as the SDK makes them."""
    return [f"{number:064x}" for number in range(count)]


def fill(index: VectorIndex, name: str, vectors: Vectors) -> list[str]:
    """Put vectors, with their numbers as stamps; return their keys."""
    keys = keys_of(len(vectors))
    index.put(name, keys, vectors, range(len(vectors)))
    return keys


def found_first(index: VectorIndex, name: str, vectors: Vectors) -> list[str]:
    """Return the nearest key to each vector."""
    return [index.nearest(name, vector, 1)[0].key for vector in vectors]


class _Model:
    """What an index must do, in the plainest way."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Vectors, int]] = {}

    def cosine(self, key: str, vector: Vectors) -> float:
        known = self.kept[key][0]
        lengths = float(np.linalg.norm(known) * np.linalg.norm(vector))
        return float(known @ vector) / lengths if lengths else 0.0

    def check(self, found: Sequence[Found], vector: Vectors, limit: int) -> None:
        """Equally near ones may come in any order, so it is their nearness that is compared."""
        expected = sorted((self.cosine(key, vector) for key in self.kept), reverse=True)[:limit]
        if not vector.any():
            expected = []
        assert [f.similarity for f in found] == pytest.approx(expected, abs=1e-5)
        assert [f.similarity for f in found] == pytest.approx([self.cosine(f.key, vector) for f in found], abs=1e-5)
        assert len({f.key for f in found}) == len(found)


class IndexContract:
    """Subclass it, and give it a fixture `index`: an open index."""

    def reopen(self, index: VectorIndex) -> VectorIndex | None:
        """Close an index and return another on the same store, None if nothing is kept. Override it."""
        return None

    def _points_to(self, found: list[Found], key: str) -> None:
        """What was found is one vector, in the very direction that was asked for."""
        assert [f.key for f in found] == [key]
        assert found[0].similarity == pytest.approx(1.0)

    def test_an_unknown_collection_is_an_empty_one(self, index: VectorIndex) -> None:
        """Reading, removing and dropping neither fail nor make it."""
        name = new_name()
        assert index.nearest(name, some_vectors(1)[0], 3) == []
        assert list(index.stamped(name)) == []
        assert index.count(name) == 0
        index.remove(name, ["x"])
        index.drop(name)
        index.put(name, [], np.empty((0, _DIMENSIONS), np.float32), [])
        assert name not in index.collections()

    def test_the_nearest_come_first(self, index: VectorIndex) -> None:
        """Cosine and nothing else decides: not the length, not what was put first."""
        name = new_name()
        axes = np.eye(3, dtype=np.float32)
        index.put(name, ["x", "y", "xy", "-x"], np.vstack([axes[0] * 5, axes[1], axes[0] + axes[1], -axes[0]]), [0] * 4)
        found = index.nearest(name, axes[0] * 1e-3, 10)
        assert [f.key for f in found] == ["x", "xy", "y", "-x"]
        assert [f.similarity for f in found] == pytest.approx([1, 0.5**0.5, 0, -1], abs=1e-5)
        assert [f.key for f in index.nearest(name, axes[:1], 2)] == ["x", "xy"]
        assert index.nearest(name, axes[0], 0) == []
        assert index.nearest(name, np.zeros(3, np.float32), 3) == []

    @_searching
    @given(operations=st.lists(_operation, min_size=1, max_size=12))
    def test_it_does_what_a_dictionary_would(self, index: VectorIndex, operations: list[tuple[str, object]]) -> None:
        """Any sequence of puts, replacements, removals and drops leaves what it should."""
        name, model = new_name(), _Model()
        for what, given_ in operations:
            self._do(index, name, model, what, given_)
            assert index.count(name) == len(model.kept)
        assert sorted(index.stamped(name)) == sorted(Stamped(key, stamp) for key, (_, stamp) in model.kept.items())
        index.drop(name)

    def _do(self, index: VectorIndex, name: str, model: _Model, what: str, given_: object) -> None:
        if what == "put" and isinstance(given_, dict):
            vectors = np.array([vector for vector, _ in given_.values()], np.float32)
            stamps = [stamp for _, stamp in given_.values()]
            index.put(name, list(given_), vectors, stamps)
            model.kept.update(zip(given_, zip(vectors, stamps, strict=True), strict=True))
        elif what == "remove" and isinstance(given_, list):
            index.remove(name, given_)
            for key in given_:
                model.kept.pop(key, None)
        elif what == "nearest" and isinstance(given_, tuple):
            vector = np.array(given_[0], np.float32)
            model.check(index.nearest(name, vector, given_[1]), vector, given_[1])
        else:
            index.drop(name)
            model.kept.clear()

    def test_a_known_key_is_replaced(self, index: VectorIndex) -> None:
        """Vector and stamp are the new ones, and nothing is left of the old."""
        name = new_name()
        axes = np.eye(3, dtype=np.float32)
        index.put(name, ["a", "b"], axes[:2], [1, 2])
        index.put(name, ["a"], axes[2:], [3])
        self._points_to(index.nearest(name, axes[2], 1), "a")
        assert [f.similarity for f in index.nearest(name, axes[0], 2)] == pytest.approx([0.0, 0.0], abs=1e-6)
        assert sorted(index.stamped(name)) == [Stamped("a", 3), Stamped("b", 2)]

    def test_what_is_removed_is_not_found(self, index: VectorIndex) -> None:
        """Neither by nearness nor by key; the others are all still there."""
        name, vectors = new_name(), some_vectors(300)
        keys = fill(index, name, vectors)
        index.remove(name, [*keys[::2], "unknown"])
        assert index.count(name) == 150
        assert {f.key for f in index.nearest(name, vectors[0], 300)} == set(keys[1::2])
        assert {s.key for s in index.stamped(name)} == set(keys[1::2])
        assert found_first(index, name, vectors[1::2]) == keys[1::2]

    def test_dropping_removes_one_collection(self, index: VectorIndex) -> None:
        """It is empty, takes vectors of another kind, and the others are as they were."""
        one, other, vectors = new_name(), new_name(), some_vectors(20)
        fill(index, one, vectors)
        keys = fill(index, other, vectors)
        index.drop(one)
        assert (index.count(one), index.nearest(one, vectors[0], 5)) == (0, [])
        assert one not in index.collections()
        assert found_first(index, other, vectors) == keys
        index.put(one, ["a"], np.ones((1, 3), np.float32), [7])
        self._points_to(index.nearest(one, np.ones(3, np.float32), 5), "a")

    def test_collections_do_not_see_each_other(self, index: VectorIndex) -> None:
        """Not even for the same keys, nor with other numbers of dimensions."""
        one, other = new_name(), new_name()
        index.put(one, ["a", "b"], np.eye(2, dtype=np.float32), [1, 2])
        index.put(other, ["a"], np.eye(3, dtype=np.float32)[2:], [3])
        index.remove(other, ["b"])
        self._points_to(index.nearest(one, np.array([1, 0], np.float32), 1), "a")
        assert list(index.stamped(other)) == [Stamped("a", 3)]
        assert index.count(one) == 2

    def test_any_name_and_any_key_will_do(self, index: VectorIndex) -> None:
        """Names that differ by a letter's case or form are different collections, and come back as they were given."""
        one = np.ones((1, 2), np.float32)
        prefix = uuid.uuid4().hex
        names = [f"{prefix}{odd}"[:200] for odd in ODD_IDS] + ["é" * 200, "."]
        for number, name in enumerate(names):
            index.drop(name)
            index.put(name, ["a"], one, [number])
        assert set(names) <= set(index.collections())
        assert index.collections() == sorted(index.collections())
        assert [next(index.stamped(name)).stamp for name in names] == list(range(len(names)))
        keys = [odd[:64] for odd in ODD_IDS] + ["\x00", " ", "\n"]
        index.put(names[0], keys, np.ones((len(keys), 2), np.float32), [1] * len(keys))
        assert {s.key for s in index.stamped(names[0])} == {"a", *keys}
        assert {f.key for f in index.nearest(names[0], one[0], 99)} == {"a", *keys}
        for name in names:
            index.drop(name)

    @pytest.mark.parametrize(
        ("keys", "vectors", "stamps"),
        [
            (["a"], [[1.0, 2.0], [3.0, 4.0]], [1]),
            (["a", "b"], [[1.0, 2.0], [3.0, 4.0]], [1]),
            (["a", "b"], [[1.0, 2.0]], [1, 2]),
            (["a", "a"], [[1.0, 2.0], [3.0, 4.0]], [1, 2]),
            (["a", ""], [[1.0, 2.0], [3.0, 4.0]], [1, 2]),
            (["a", "b"], [[1.0, 2.0], [float("nan"), 4.0]], [1, 2]),
            (["a", "b"], [[1.0, 2.0], [float("-inf"), 4.0]], [1, 2]),
            (["a"], [[1.0, 2.0, 3.0]], [1]),
            (["a"], [1.0, 2.0], [1]),
        ],
    )
    def test_what_cannot_be_put_is_refused_whole(
        self, index: VectorIndex, keys: list[str], vectors: list[list[float]], stamps: list[int]
    ) -> None:
        """Nothing of it is put, whichever part of it is wrong."""
        name = new_name()
        index.put(name, ["known"], np.ones((1, 2), np.float32), [5])
        with pytest.raises(InputError):
            index.put(name, keys, np.array(vectors, np.float32), stamps)
        assert list(index.stamped(name)) == [Stamped("known", 5)]

    def test_what_cannot_be_asked_is_refused(self, index: VectorIndex) -> None:
        """A number that is not finite, or another number of dimensions, is a caller's mistake."""
        name = new_name()
        fill(index, name, some_vectors(3))
        for asked in (np.full(_DIMENSIONS, np.nan), np.full(_DIMENSIONS, np.inf), np.ones(_DIMENSIONS + 1)):
            with pytest.raises(InputError):
                index.nearest(name, asked.astype(np.float32), 1)

    def test_lengths_of_every_size_are_the_same(self, index: VectorIndex) -> None:
        """Squares that overflow or vanish in single precision do no harm; zeros are near nothing."""
        name = new_name()
        axes = np.eye(3, dtype=np.float32)
        index.put(name, ["large", "small", "zero"], np.vstack([axes[0] * 1e38, axes[1] * 1e-38, axes[2] * 0]), [0] * 3)
        self._points_to(index.nearest(name, axes[0] * 1e-38, 1), "large")
        self._points_to(index.nearest(name, axes[1] * 1e38, 1), "small")
        assert [f.similarity for f in index.nearest(name, axes[2], 3)] == pytest.approx([0.0] * 3, abs=1e-6)

    def test_a_batch_may_be_of_any_size(self, index: VectorIndex) -> None:
        """More than an engine takes at once is put, listed and removed like less."""
        name, vectors = new_name(), some_vectors(_LARGE, 4)
        keys = fill(index, name, vectors)
        assert index.count(name) == _LARGE
        assert sorted(index.stamped(name)) == [Stamped(key, number) for number, key in enumerate(keys)]
        sample = slice(None, None, _LARGE // 50)
        found = [index.nearest(name, vector, 1)[0].similarity for vector in vectors[sample]]
        assert found == pytest.approx([1.0] * len(found), abs=1e-5)
        index.remove(name, keys[1:])
        assert list(index.stamped(name)) == [Stamped(keys[0], 0)]
        index.drop(name)

    def test_stamps_are_whole_numbers_of_64_bits(self, index: VectorIndex) -> None:
        """They come back exactly."""
        name, stamps = new_name(), [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
        index.put(name, keys_of(5), some_vectors(5), stamps)
        assert [s.stamp for s in sorted(index.stamped(name))] == stamps

    def test_threads_lose_nothing(self, index: VectorIndex) -> None:
        """Writers and readers at once, in one collection and in several, some made and dropped meanwhile."""
        shared, vectors = new_name(), some_vectors(240)
        keys = keys_of(240)

        def work(number: int) -> None:
            own = new_name()
            for at in range(number * 40, number * 40 + 40, 4):
                index.put(shared, keys[at : at + 4], vectors[at : at + 4], range(at, at + 4))
                index.put(own, keys[at : at + 1], vectors[at : at + 1], [at])
                assert index.nearest(shared, vectors[at], 1)[0].key == keys[at]
                assert keys[at] in {f.key for f in index.nearest(own, vectors[at], 99)}
            if number % 2:
                index.drop(own)
            else:
                assert index.count(own) == 10

        in_threads(6, work)
        assert sorted(index.stamped(shared)) == [Stamped(key, at) for at, key in enumerate(keys)]
        assert found_first(index, shared, vectors) == keys

    def test_it_is_all_there_when_opened_again(self, index: VectorIndex) -> None:
        """What was put is found, what was removed is not, and names are known."""
        name, dropped, vectors = new_name(), new_name(), some_vectors(150)
        keys = fill(index, name, vectors)
        fill(index, dropped, vectors)
        index.put(name, keys[:1], vectors[:1] * 2, [99])
        index.remove(name, keys[100:])
        index.drop(dropped)
        again = self.reopen(index)
        if again is None:
            pytest.skip("this index keeps nothing")
        assert [s.stamp for s in sorted(again.stamped(name))] == [99, *range(1, 100)]
        assert found_first(again, name, vectors[:100]) == keys[:100]
        assert {f.key for f in again.nearest(name, vectors[120], 150)} == set(keys[:100])
        assert name in again.collections()
        assert dropped not in again.collections()
        with pytest.raises(InputError):
            again.put(name, ["a"], np.ones((1, _DIMENSIONS + 1), np.float32), [1])
        again.close()

    def test_a_closed_index_says_so(self, index: VectorIndex) -> None:
        """Every method fails as one that is away does, and closing again is harmless."""
        index.close()
        index.close()
        vector = some_vectors(1)
        calls: list[Callable[[], object]] = [
            lambda: index.put("x", ["a"], vector, [1]),
            lambda: index.remove("x", ["a"]),
            lambda: index.nearest("x", vector, 1),
            lambda: list(itertools.islice(index.stamped("x"), 1)),
            lambda: index.count("x"),
            lambda: index.drop("x"),
            index.collections,
        ]
        for call in calls:
            with pytest.raises(IndexUnavailableError):
                call()
