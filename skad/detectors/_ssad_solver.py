"""Solver of SSAD's dual problem, in float64 and without the full kernel matrix.

With signed weights ``beta = s * alpha`` (s = -1 for labelled anomalies, else +1), f = K beta and
labels y in {-1, 0, +1} the problem reads

    min 1/2 beta' K beta   s.t.  lower <= beta <= upper,  sum(beta) = 1,  y' beta >= kappa

and beta is optimal when some rho and gamma >= 0 (gamma = 0 where y' beta > kappa) leave the
residual f - rho - gamma * y at 0 for free weights, >= 0 for those at their lower bound and <= 0
for those at their upper bound.

Three ideas make it fast. Most weights sit at a bound, so a Newton step over the free ones and the
worst offenders goes far (`_Problem.newton_step`). Only rows near the margin can become free, so
the kernel matrix is held for those alone (`_Problem.solve`). And the solution over a sample of the
rows says which rows these are (`solve`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import linprog

HELD_ROWS = 3000  # rows whose kernel matrix is held at once: 72 MB
SMALLEST_SAMPLE = 250  # a problem of this size is solved without a sample first
GROWTH = 4  # from one sample to the next
SAMPLE_TOL = 1e-3  # a sample's solution is only a start
MOST_RELEASED = 300  # bound weights that a Newton step sets free
FREE_ROUNDS = 8  # rounds in which a working set may take weights back
RIDGE = 1e-10  # of the kernel's diagonal; steers the steps only, the optimum stays exact
FLOOR = 1e-4  # of the kernel's diagonal: ||w||^2 below counts as 0
ROUNDING = 1e-13  # of a weight; all weights together are about 1
SHORTEST = 0.1  # a leap whose step is shorter was a wrong guess
CHEAP_WALK = 100  # up to so many weights a walk costs less than leaps with larger ridges
RIDGE_FACTOR, LARGEST_RIDGE = 100, 10
LABELS = (0, 1, -1)


@dataclass
class Solution:
    """Where the solver stopped."""

    beta: np.ndarray  # signed weights
    f: np.ndarray  # K beta
    rho: float
    gamma: float
    violation: float  # of the optimality conditions, in units of ||w||^2
    n_iter: int


def feasible_masses(capacity, kappa):
    """Find sums of the unsigned weights of the groups 0, +1 and -1 that meet both constraints.

    Raises ValueError when there are none, saying which box is too small.
    """
    unlabeled, normal, anomaly = capacity
    slack = 1e-12 * (1 + abs(kappa))
    if normal + anomaly < kappa - slack:
        raise ValueError(
            f"Infeasible: the labelled weights can reach {normal + anomaly:g} in all, less than "
            f"kappa={kappa:g}. Raise C_anomaly or C_normal, or lower kappa."
        )
    # Normals may weigh 1 more than anomalies, so the rest of kappa falls on the anomalies.
    forced = max(0.0, kappa - normal, (kappa - 1) / 2)
    if anomaly < forced - slack:
        raise ValueError(
            f"Infeasible: kappa={kappa:g} forces a weight of {forced:g} on the labelled anomalies, "
            f"which can reach {anomaly:g}. Raise C_anomaly, or lower kappa."
        )
    if unlabeled + normal < 1 + forced - slack:
        raise ValueError(
            f"Infeasible: the unlabelled and normal rows must reach a weight of {1 + forced:g} "
            f"but can reach {unlabeled + normal:g}. Raise C_unlabeled or C_normal, or lower nu or "
            "kappa."
        )
    forced = min(forced, anomaly)
    least_normal = min(max(0.0, kappa - forced, 1 + forced - unlabeled), normal)
    return min(1 + forced - least_normal, unlabeled), least_normal, forced


def solve(kernel, y, box, kappa, tol, max_iter):
    """Minimise the dual.

    Parameters
    ----------
    kernel : object
        ``kernel.block(rows, columns)`` is a block of the training rows' kernel matrix, and
        ``kernel.times(rows, columns, weights)`` that block times weights.
    y : ndarray of shape (n_samples,)
        Labels in {-1, 0, +1}.
    box : ndarray of shape (n_samples,)
        Upper bounds of the unsigned weights, the same within a group.
    kappa : float
        Lower bound of the labelled rows' unsigned weights; plays no part without labels.
    tol : float
        Violation of the optimality conditions to stop at, in units of ||w||^2.
    max_iter : int
        Most Newton steps over all rows.

    Returns
    -------
    Solution
    """
    if not np.any(y):
        kappa = -np.inf
    shuffle = np.random.default_rng(0).permutation
    groups = [shuffle(np.flatnonzero(y == label)) for label in LABELS]
    point, rows, share = None, None, min(1, SMALLEST_SAMPLE / len(y))
    while point is None or len(rows) < len(y):
        samples = [group[: int(np.ceil(share * len(group)))] for group in groups]
        old_rows, rows = rows, np.concatenate(samples)
        # Boxes grow as rows get fewer, so a group's total, and with it feasibility, stays.
        growth = [len(g) / max(len(s), 1) for g, s in zip(groups, samples, strict=True)]
        point_box = np.repeat(growth, [len(s) for s in samples]) * box[rows]
        if point is None:
            alpha = _first_weights(y[rows], point_box, kappa)
            floor = FLOOR * np.mean(np.diag(kernel.block(rows, rows)))
            floor = max(floor, np.finfo(float).tiny)
        else:
            alpha = _enlarge(kernel, point, old_rows, rows, y[rows], point_box)
        point = _Point(y[rows], point_box, kappa, np.where(y[rows] < 0, -alpha, alpha), floor)
        n_iter = _solve_rows(kernel, rows, point, tol if share == 1 else SAMPLE_TOL, max_iter)
        share = min(1, share * GROWTH)
    rho, gamma = point.threshold()
    violation = point.multipliers()[2] / point.unit()
    beta, f = np.empty(len(y)), np.empty(len(y))
    beta[rows], f[rows] = point.beta, point.f
    return Solution(beta, f, rho, gamma, violation, n_iter)


def _first_weights(y, box, kappa):
    """Feasible weights, all inside their box as far as the constraints allow."""
    groups = [y == label for label in LABELS]
    capacity = [box[group].sum() for group in groups]
    alpha = np.zeros(len(y))
    masses = feasible_masses(capacity, kappa)
    for group, mass, total in zip(groups, masses, capacity, strict=True):
        if mass > 0:
            alpha[group] = box[group] * (mass / total)
    return alpha


def _enlarge(kernel, old, old_rows, rows, y, box):
    """Feasible weights over `rows`, from the solution over fewer of them."""
    used = old.beta != 0
    f = kernel.times(rows, old_rows[used], old.beta[used])
    wish = np.zeros(rows.max() + 1)
    wish[old_rows] = np.abs(old.beta)
    wish = wish[rows]
    alpha = np.minimum(wish, box)
    for label in LABELS:
        # What no longer fits goes to the rows that most want to rise.
        group = np.flatnonzero(y == label)
        group = group[np.argsort(-f[group] if label < 0 else f[group])]
        room = box[group] - alpha[group]
        excess = np.sum(wish[group] - alpha[group])
        alpha[group] += np.clip(excess - (np.cumsum(room) - room), 0, room)
    return alpha


def _solve_rows(kernel, rows, point, tol, max_iter):
    """Move a point to the optimum, holding the kernel of the rows near the margin only.

    Returns the number of Newton steps.
    """
    used = point.beta != 0
    point.f = kernel.times(rows, rows[used], point.beta[used])
    n_iter = 0
    while n_iter < max_iter:
        violation = point.multipliers()[2]
        if violation <= tol * point.unit():
            break
        near = point.near_margin(HELD_ROWS)
        held = point.part(near)
        steps = held.newton(kernel.block(rows[near], rows[near]), tol * point.unit() / 2, max_iter)
        n_iter += max(steps, 1)
        change = held.beta - point.beta[near]
        point.beta[near] = held.beta
        moved = change != 0
        if not moved.any():
            break
        if len(near) == len(rows):
            point.f = held.f
        else:
            point.f += kernel.times(rows, rows[near[moved]], change[moved])
    return n_iter


def _middle(low, high):
    """Middle of an interval that may be unbounded on one side."""
    if np.isfinite(low) and np.isfinite(high):
        return (low + high) / 2
    return low if np.isfinite(low) else high


class _Point:
    """A feasible point of the dual over some rows: beta and f = K beta."""

    def __init__(self, y, box, kappa, beta, floor, f=None):
        sign = np.where(y < 0, -1.0, 1.0)
        self.y, self.box, self.kappa, self.floor = y, box, kappa, floor
        self.beta, self.f = beta, f
        self.lower, self.upper = np.minimum(sign * box, 0.0), np.maximum(sign * box, 0.0)
        self.groups = [np.flatnonzero(y == label) for label in LABELS]
        self._snap()

    def _snap(self):
        """Put weights next to a bound on it; they would stop every step that pushes them there."""
        for bound in (self.lower, self.upper):
            self.beta = np.where(np.abs(self.beta - bound) < ROUNDING, bound, self.beta)

    def unit(self):
        """||w||^2, kept off zero."""
        return max(self.beta @ self.f, self.floor)

    def slack(self):
        """How much the labelled weights exceed kappa; 0 when that is rounding."""
        slack = self.y @ self.beta - self.kappa
        return slack if slack > 1e-12 * (1 + abs(self.kappa)) else 0.0

    def is_free(self):
        """Whether each weight is strictly inside its bounds."""
        return (self.beta > self.lower) & (self.beta < self.upper)

    def part(self, rows):
        """Restrict the problem to some rows, all other weights kept as they are."""
        others = self.y @ self.beta - self.y[rows] @ self.beta[rows]
        kappa = self.kappa - others
        return _Point(
            self.y[rows], self.box[rows], kappa, self.beta[rows], self.floor, self.f[rows]
        )

    def extremes(self):
        """Per group: the row of highest f that may fall, that of lowest f that may rise."""
        rows, values = np.zeros((2, 3), dtype=int), np.array([[-np.inf] * 3, [np.inf] * 3])
        for i, group in enumerate(self.groups):
            down = group[self.beta[group] > self.lower[group]]
            up = group[self.beta[group] < self.upper[group]]
            if len(down):
                rows[0, i] = down[np.argmax(self.f[down])]
                values[0, i] = self.f[rows[0, i]]
            if len(up):
                rows[1, i] = up[np.argmin(self.f[up])]
                values[1, i] = self.f[rows[1, i]]
        return rows, values

    def multipliers(self):
        """Find the rho and gamma >= 0 of least violation, and that violation."""
        bounds = self.extremes()[1]
        least, most = bounds
        label = np.array(LABELS)
        # For a given gamma, rho should be above least - gamma * label and below most - gamma *
        # label. By how much it cannot is piecewise linear in gamma, least at 0 or where two of
        # these lines cross.
        gammas = np.zeros(1)
        if self.slack() == 0:
            labels, bounds = np.tile(label, 2), bounds.ravel()
            i, j = np.nonzero(np.triu(labels[:, None] != labels))
            usable = np.isfinite(bounds[i]) & np.isfinite(bounds[j])
            i, j = i[usable], j[usable]
            kinks = (bounds[i] - bounds[j]) / (labels[i] - labels[j])
            gammas = np.append(np.maximum(kinks, 0.0), 0.0)
        above = np.max(least - np.outer(gammas, label), axis=1)
        below = np.min(most - np.outer(gammas, label), axis=1)
        best = np.argmin(above - below)
        gamma, above, below = gammas[best], above[best], below[best]
        rho = (above + below) / 2 if np.isfinite(below) else above
        return rho, gamma, max((above - below) / 2, 0.0)

    def residual(self):
        """Violation of each weight, positive where it should fall, negative where rise."""
        rho, gamma, _ = self.multipliers()
        return self.f - rho - gamma * self.y

    def near_margin(self, n_rows):
        """Pick the rows worth moving: the worst offenders, then the closest to being one."""
        if n_rows >= len(self.y):
            return np.arange(len(self.y))
        residual = self.residual()
        urgency = np.abs(residual)
        urgency = np.where(self.beta == self.lower, -residual, urgency)
        urgency = np.where(self.beta == self.upper, residual, urgency)
        return np.argpartition(-urgency, n_rows)[:n_rows]

    def threshold(self):
        """Find the rho and gamma of complementary slackness.

        Free weights give the thresholds of their groups: rho for unlabelled rows, rho + gamma for
        normals and rho - gamma for anomalies. Where they leave a choice, the middle is taken.
        """
        least, most = self.extremes()[1]
        free = self.is_free()
        for i, group in enumerate(self.groups):
            if free[group].any():
                least[i] = most[i] = np.mean(self.f[group[free[group]]])
        if self.slack() > 0:  # gamma is 0, so all groups share one threshold
            return (least[0] if least[0] == most[0] else _middle(max(least), min(most))), 0.0
        rho = _middle(
            max(least[0], least[2], (least[1] + least[2]) / 2),
            min(most[0], most[1], (most[1] + most[2]) / 2),
        )
        rho = least[0] if least[0] == most[0] else rho
        return rho, max(
            _middle(max(0.0, least[1] - rho, rho - most[2]), min(most[1] - rho, rho - least[2])),
            0.0,
        )

    def newton(self, K, tol, max_iter):
        """Newton steps over the free weights and the worst offenders; returns their number.

        K is the kernel matrix of all rows of the point.
        """
        diagonal = max(np.mean(np.diag(K)), np.finfo(float).tiny)
        ridge = RIDGE
        for n_iter in range(max_iter):
            if self.multipliers()[2] <= tol:
                return n_iter
            residual, free = self.residual(), self.is_free()
            offends = np.where(self.beta == self.lower, -residual, residual)
            offends[free] = -np.inf
            released = np.argsort(-offends)[:MOST_RELEASED]
            work = np.concatenate([np.flatnonzero(free), released[offends[released] > tol]])
            K_work = K[np.ix_(work, work)]
            moved = False
            while not moved and ridge <= LARGEST_RIDGE:
                moved = self._move(K, work, self._leap(K_work, work, ridge * diagonal), SHORTEST)
                if not moved and len(work) <= CHEAP_WALK:
                    break
                ridge = max(ridge / RIDGE_FACTOR, RIDGE) if moved else ridge * RIDGE_FACTOR
            if not moved:
                ridge = RIDGE
                moved = self._move(K, work, self._walk(K_work, work, RIDGE * diagonal))
            if not moved and not self._move(K, *self._steepest()):
                return n_iter
        return max_iter

    def _move(self, K, work, step, shortest=0.0):
        """Go along a step as far as it lowers the objective; whether it was worth it."""
        moving = np.abs(step) > 0
        work, step = work[moving], step[moving]
        rho, gamma, violation = self.multipliers()
        slope = step @ (self.f[work] - rho - gamma * self.y[work])
        # `_steepest` falls by the violation per unit of step; far less is rounding.
        if np.max(np.abs(step), initial=0) < ROUNDING:
            return False
        if slope >= -1e-6 * violation * np.sum(np.abs(step)):
            return False
        change = step @ K[work]
        curvature = step @ change[work]
        length = 1.0 if slope + curvature <= 0 else -slope / curvature
        if length < shortest:
            return False
        self.beta[work] += length * step
        self._snap()
        self.f += length * change
        return True

    def _steepest(self):
        """Find the best step of up to three weights, as in SMO: for when Newton's fails."""
        rows, values = self.extremes()
        sign = np.repeat([-1.0, 1.0], 3)
        label = np.tile(np.array(LABELS, dtype=float), 2)
        usable = np.isfinite(values.ravel())
        rows, sign, label = rows.ravel()[usable], sign[usable], label[usable]
        tight = self.slack() == 0
        weights = linprog(
            sign * self.f[rows],
            A_ub=-(sign * label)[None] if tight else None,
            b_ub=[0.0] if tight else None,
            A_eq=np.stack([sign, np.ones(len(sign))]),
            b_eq=[0.0, 1.0],
        ).x
        if weights is None:
            return rows, np.zeros(len(rows))
        step = sign * weights
        room = np.where(step > 0, self.upper[rows], self.lower[rows]) - self.beta[rows]
        limits = [room[step != 0] / step[step != 0]]
        if label @ step < 0:
            limits.append([-self.slack() / (label @ step)])
        return rows, step * np.min(np.concatenate(limits))

    def _leap(self, K, work, ridge):
        """Step to the minimum over the weights `work`, by guessing which end at a bound.

        Rounds of solving for the inner weights: those that leave their box are put on its edge,
        and in the first rounds those that want to come back may. Zero when that leads nowhere.
        """
        to_lower, to_upper = self.lower[work] - self.beta[work], self.upper[work] - self.beta[work]
        slack = self.slack()
        tight = slack == 0
        constraints = np.stack([np.ones(len(work)), self.y[work]])
        inside, step = np.ones(len(work), dtype=bool), np.zeros(len(work))
        for round_ in range(len(work) + 2 * FREE_ROUNDS):
            E = constraints[: 1 + tight]
            gap = -E[:, ~inside] @ step[~inside] - [0, slack][: 1 + tight]
            pull = self.f[work] + K[:, ~inside] @ step[~inside]
            inner, theta = _newton_step(K, pull, E, gap, inside, ridge)
            if inner is None:
                return np.zeros(len(work))
            step[inside] = inner
            below, above = inside & (step < to_lower), inside & (step > to_upper)
            step[below], step[above] = to_lower[below], to_upper[above]
            changed = below | above
            if round_ < FREE_ROUNDS:
                residual = self.f[work] + K @ step - theta @ E
                back = ~inside & np.where(step == to_lower, residual < 0, residual > 0)
                inside |= back
                changed |= back
                if tight and theta[1] < 0:
                    tight, changed[:] = False, True
            inside &= ~(below | above)
            if not tight and self.y[work] @ step < -slack:
                tight, changed[:] = True, True
            if not changed.any():
                return step
        return np.zeros(len(work))

    def _walk(self, K, work, ridge):
        """Step to the minimum over the weights `work`, stopping at each bound on the way.

        Slower than `_leap`, but each stop lowers the objective.
        """
        to_lower, to_upper = self.lower[work] - self.beta[work], self.upper[work] - self.beta[work]
        slack = self.slack()
        tight = slack == 0
        constraints = np.stack([np.ones(len(work)), self.y[work]])
        inside, step = np.ones(len(work), dtype=bool), np.zeros(len(work))
        for _ in range(len(work) + 1):
            E = constraints[: 1 + tight]
            pull = self.f[work] + K @ step
            inner, _ = _newton_step(K, pull, E, np.zeros(len(E)), inside, ridge)
            if inner is None:
                break
            way = np.zeros(len(work))
            way[inside] = inner
            with np.errstate(divide="ignore", invalid="ignore"):
                stops = np.where(way < 0, (to_lower - step) / way, (to_upper - step) / way)
            stops[way == 0] = np.inf
            room = np.inf
            if not tight and self.y[work] @ way < 0:
                room = -(slack + self.y[work] @ step) / (self.y[work] @ way)
            length = min(1.0, np.min(stops), room)
            step += length * way
            hit = stops <= length * (1 + 1e-9)
            step[hit] = np.where(way[hit] < 0, to_lower[hit], to_upper[hit])
            inside &= ~hit
            tight = tight or room <= length
            if length == 1.0:
                break
        return step


def _newton_step(K, pull, E, gap, inside, ridge):
    """Minimise pull' d + d' (K + ridge) d / 2 over the inside weights subject to E d = gap.

    Returns d and the multipliers of E, or None twice when the constraints cannot be met.
    """
    E = E[:, inside]
    A = K[np.ix_(inside, inside)]
    A.flat[:: len(A) + 1] += ridge
    targets = np.column_stack([pull[inside], E.T])
    try:
        solved = targets  # of no rows, which older versions of scipy refuse
        if len(A):
            solved = cho_solve(cho_factor(A, overwrite_a=True, check_finite=False), targets)
    except LinAlgError:  # rounding, or a kernel that is not positive semi-definite
        return None, None
    theta = np.linalg.lstsq(E @ solved[:, 1:], gap + E @ solved[:, 0], rcond=1e-13)[0]
    step = solved[:, 1:] @ theta - solved[:, 0]
    if np.max(np.abs(E @ step - gap), initial=0) > 1e-9 or not np.all(np.isfinite(step)):
        return None, None
    return step, theta
