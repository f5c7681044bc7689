r"""Which benchmarks to morph from: the figure of merit of a basis, and the search for a good one.

The figure of merit is the mean over the parameter ranges of the sum of squared morphing weights. Weights are polynomials
of theta, so the mean is exact: with M the morphing matrix and C[c, d] = <theta**(p_c + p_d)> it is tr(M^T C M), and
without M, tr(C (A^T A)^-1) with A[b, c] = theta_b**p_c. In the theory of optimal designs a basis that makes it small is
called I-optimal (or V-optimal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from columnminer.model.morphing import monomial_gradients, monomials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from columnminer.model.parameters import ParameterSpace
    from columnminer.streams import Seed

def component_moments(components, bounds):
    powers = components[:, np.newaxis] + components
    low, high = bounds[:, 0], bounds[:, 1]
    means = (high ** (powers + 1.0) - low ** (powers + 1.0)) / ((powers + 1.0) * (high - low))
    return means.prod(axis=-1)

def whiten(C):
    lam, V = np.linalg.eigh(C)
    return V / np.sqrt(np.maximum(lam, 1e-14*lam[-1]))

def greedy(u, W, comps, fixed, n_basis):
    # u (T,N,n_par)
    X = monomials(u, comps) @ W   # (T,N,n_c)
    T,N,n = X.shape
    F = monomials(fixed, comps) @ W
    K = np.broadcast_to(np.linalg.inv(F.T@F + 1e-9*np.eye(n)), (T,n,n)).copy()
    XK = X @ K
    d = np.einsum('tnc,tnc->tn', XK, X)
    picked=[]
    for _ in range(n_basis-len(fixed)):
        i = d.argmax(1)
        rows=np.arange(T)
        x = X[rows,i]
        Kx = np.einsum('tcd,td->tc',K,x)
        q = 1+d[rows,i]
        K -= Kx[:,:,None]*Kx[:,None,:]/q[:,None,None]
        d -= np.einsum('tnc,tc->tn',X,Kx)**2/q[:,None]
        picked.append(u[rows,i])
    return np.stack(picked,1)

def objective(flat, comps, W, fixed_A, shape):
    u = flat.reshape(shape)
    A = np.concatenate([fixed_A, monomials(u, comps)@W])
    G = A.T@A
    K = np.linalg.inv(G)
    f = np.trace(K)
    H = K@K
    gA = -2*(A[len(fixed_A):]@H)   # (n_missing, n_c)
    dc = monomial_gradients(u, comps) @ W   # (n_missing,n_par,n_c)
    g = np.einsum('bic,bc->bi', dc, gA)
    # log objective better scaled
    return np.log(f), g.ravel()/f
