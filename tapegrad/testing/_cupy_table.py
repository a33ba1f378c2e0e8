"""What CuPy 14.2.0 has of NumPy, read from its wheel: signatures, methods, loops of ufuncs.

Written by `pytest tests/testing/test_cupy_table.py --rewrite`, which also checks it; not edited by hand.
"""

# ruff: noqa: E501 - signatures stay on one line

VERSION = "14.2.0"

FUNCTIONS = """\
all(a, axis=None, out=None, keepdims=False)
allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
amax(a, axis=None, out=None, keepdims=False)
amin(a, axis=None, out=None, keepdims=False)
angle(z, deg=False)
any(a, axis=None, out=None, keepdims=False)
append(arr, values, axis=None)
apply_along_axis(func1d, axis, arr, *args, **kwargs)
apply_over_axes(func, a, axes)
arange(start, stop=None, step=1, dtype=None)
argmax(a, axis=None, dtype=None, out=None, keepdims=False)
argmin(a, axis=None, dtype=None, out=None, keepdims=False)
argpartition(a, kth, axis=-1)
argsort(a, axis=-1, kind=None)
argwhere(a)
around(a, decimals=0, out=None)
array(obj, dtype=None, copy=True, order='K', subok=False, ndmin=0, *, blocking=False)
array_equal(a1, a2, equal_nan=False)
array_equiv(a1, a2)
array_split(ary, indices_or_sections, axis=0)
asanyarray(a, dtype=None, order=None, *, copy=None, blocking=False)
asarray(a, dtype=None, order=None, *, copy=None, blocking=False)
asarray_chkfinite(a, dtype=None, order=None)
ascontiguousarray(a, dtype=None)
asfortranarray(a, dtype=None)
astype(x, dtype, /, *, copy=True)
atleast_1d(*arys)
atleast_2d(*arys)
atleast_3d(*arys)
average(a, axis=None, weights=None, returned=False, *, keepdims=False)
bartlett(M)
bincount(x, weights=None, minlength=None)
blackman(M)
broadcast_arrays(*args)
broadcast_to(array, shape)
can_cast(from_, to, casting='safe')
choose(a, choices, out=None, mode='raise')
clip(a, a_min, a_max, out=None)
column_stack(tup)
common_type(*arrays)
compress(condition, a, axis=None, out=None)
concat(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
convolve(a, v, mode='full')
copy(a, order='K')
copyto(dst, src, casting='same_kind', where=None)
corrcoef(a, y=None, rowvar=True, bias=None, ddof=None, *, dtype=None)
correlate(a, v, mode='valid')
count_nonzero(a, axis=None)
cov(a, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None)
cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None)
cumprod(a, axis=None, dtype=None, out=None)
cumsum(a, axis=None, dtype=None, out=None)
cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False)
cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False)
delete(arr, indices, axis=None)
diag(v, k=0)
diag_indices(n, ndim=2)
diag_indices_from(arr)
diagflat(v, k=0)
diagonal(a, offset=0, axis1=0, axis2=1)
diff(a, n=1, axis=-1, prepend=None, append=None)
digitize(x, bins, right=False)
dot(a, b, out=None)
dsplit(ary, indices_or_sections)
dstack(tup)
ediff1d(arr, to_end=None, to_begin=None)
einsum(*operands, **kwargs)
empty(shape, dtype=float, order='C')
empty_like(prototype, dtype=None, order='K', subok=None, shape=None)
expand_dims(a, axis)
extract(condition, a)
eye(N, M=None, k=0, dtype=float, order='C')
fft.fft(a, n=None, axis=-1, norm=None)
fft.fft2(a, s=None, axes=(-2, -1), norm=None)
fft.fftfreq(n, d=1.0)
fft.fftn(a, s=None, axes=None, norm=None)
fft.fftshift(x, axes=None)
fft.hfft(a, n=None, axis=-1, norm=None)
fft.ifft(a, n=None, axis=-1, norm=None)
fft.ifft2(a, s=None, axes=(-2, -1), norm=None)
fft.ifftn(a, s=None, axes=None, norm=None)
fft.ifftshift(x, axes=None)
fft.ihfft(a, n=None, axis=-1, norm=None)
fft.irfft(a, n=None, axis=-1, norm=None)
fft.irfft2(a, s=None, axes=(-2, -1), norm=None)
fft.irfftn(a, s=None, axes=None, norm=None)
fft.rfft(a, n=None, axis=-1, norm=None)
fft.rfft2(a, s=None, axes=(-2, -1), norm=None)
fft.rfftfreq(n, d=1.0)
fft.rfftn(a, s=None, axes=None, norm=None)
fill_diagonal(a, val, wrap=False)
fix(x, out=None, dtype=None)
flatnonzero(a)
flip(a, axis=None)
fliplr(a)
flipud(a)
full(shape, fill_value, dtype=None, order='C')
full_like(a, fill_value, dtype=None, order='K', subok=None, shape=None)
gradient(f, *varargs, axis=None, edge_order=1)
hamming(M)
hanning(M)
histogram(x, bins=10, range=None, density=False, weights=None)
histogram2d(x, y, bins=10, range=None, weights=None, density=None)
histogramdd(sample, bins=10, range=None, weights=None, density=False)
hsplit(ary, indices_or_sections)
hstack(tup, *, dtype=None, casting='same_kind')
i0(x, out=None, dtype=None)
identity(n, dtype=float)
imag(val)
indices(dimensions, dtype=int)
inner(a, b)
interp(x, xp, fp, left=None, right=None, period=None)
intersect1d(arr1, arr2, assume_unique=False, return_indices=False)
isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
iscomplex(x)
iscomplexobj(x)
isfortran(a)
isin(element, test_elements, assume_unique=False, invert=False)
isneginf(x, out=None)
isposinf(x, out=None)
isreal(x)
isrealobj(x)
isscalar(element)
ix_(*args)
kaiser(M, beta)
kron(a, b)
lexsort(keys)
lib.stride_tricks.as_strided(x, shape=None, strides=None)
lib.stride_tricks.sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False)
linalg.cholesky(a)
linalg.cond(x, p=None)
linalg.cross(x1, x2, /, *, axis=-1)
linalg.det(a)
linalg.eig(a)
linalg.eigh(a, UPLO='L')
linalg.eigvals(a)
linalg.eigvalsh(a, UPLO='L')
linalg.inv(a)
linalg.lstsq(a, b, rcond=None)
linalg.matmul(*args, axes=None, axis=None, keepdims=False, casting='same_kind', dtype=None, signature=None, order='K', out=None)
linalg.matrix_power(M, n)
linalg.matrix_rank(M, tol=None)
linalg.matrix_transpose(a)
linalg.norm(x, ord=None, axis=None, keepdims=False)
linalg.pinv(a, rcond=1e-15)
linalg.qr(a, mode='reduced')
linalg.slogdet(a)
linalg.solve(a, b)
linalg.svd(a, full_matrices=True, compute_uv=True)
linalg.tensorinv(a, ind=2)
linalg.tensorsolve(a, b, axes=None)
linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0)
logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0)
mask_indices(n, mask_func, k=0)
matmul(*args, axes=None, axis=None, keepdims=False, casting='same_kind', dtype=None, signature=None, order='K', out=None)
matrix_transpose(x, /)
max(a, axis=None, out=None, keepdims=False)
may_share_memory(a, b, max_work=None)
mean(a, axis=None, dtype=None, out=None, keepdims=False)
median(a, axis=None, out=None, overwrite_input=False, keepdims=False)
meshgrid(*xi, **kwargs)
min(a, axis=None, out=None, keepdims=False)
min_scalar_type(a)
moveaxis(a, source, destination)
nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None)
nanargmax(a, axis=None, dtype=None, out=None, keepdims=False)
nanargmin(a, axis=None, dtype=None, out=None, keepdims=False)
nancumprod(a, axis=None, dtype=None, out=None)
nancumsum(a, axis=None, dtype=None, out=None)
nanmax(a, axis=None, out=None, keepdims=False)
nanmean(a, axis=None, dtype=None, out=None, keepdims=False)
nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False)
nanmin(a, axis=None, out=None, keepdims=False)
nanprod(a, axis=None, dtype=None, out=None, keepdims=False)
nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
nansum(a, axis=None, dtype=None, out=None, keepdims=False)
nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
ndim(a)
nonzero(a)
ones(shape, dtype=float, order='C')
ones_like(a, dtype=None, order='K', subok=None, shape=None)
outer(a, b, out=None)
packbits(a, axis=None, bitorder='big')
pad(array, pad_width, mode='constant', **kwargs)
partition(a, kth, axis=-1)
percentile(a, q, axis=None, out=None, overwrite_input=False, method='linear', keepdims=False, *, interpolation=None)
permute_dims(a, axes=None)
piecewise(x, condlist, funclist)
place(arr, mask, vals)
poly(seq_of_zeros)
polyadd(a1, a2)
polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False)
polymul(a1, a2)
polysub(a1, a2)
polyval(p, x)
prod(a, axis=None, dtype=None, out=None, keepdims=False)
ptp(a, axis=None, out=None, keepdims=False)
put(a, ind, v, mode='wrap')
put_along_axis(arr, indices, values, axis)
putmask(a, mask, values)
quantile(a, q, axis=None, out=None, overwrite_input=False, method='linear', keepdims=False, *, interpolation=None)
ravel(a, order='C')
ravel_multi_index(multi_index, dims, mode='wrap', order='C')
real(val)
real_if_close(a, tol=100)
repeat(a, repeats, axis=None)
require(a, dtype=None, requirements=None)
reshape(a, newshape, order='C', *, copy=None)
resize(a, new_shape)
result_type(*arrays_and_dtypes)
roll(a, shift, axis=None)
rollaxis(a, axis, start=0)
roots(p)
rot90(a, k=1, axes=(0, 1))
round(a, decimals=0, out=None)
row_stack(tup, *, dtype=None, casting='same_kind')
searchsorted(a, v, side='left', sorter=None)
select(condlist, choicelist, default=0)
setdiff1d(ar1, ar2, assume_unique=False)
setxor1d(ar1, ar2, assume_unique=False)
shape(a)
shares_memory(a, b, max_work=None)
sinc(x, out=None, dtype=None)
size(a, axis=None)
sort(a, axis=-1, kind=None)
sort_complex(a)
split(ary, indices_or_sections, axis=0)
squeeze(a, axis=None)
stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
sum(a, axis=None, dtype=None, out=None, keepdims=False)
swapaxes(a, axis1, axis2)
take(a, indices, axis=None, out=None)
take_along_axis(a, indices, axis)
tensordot(a, b, axes=2)
tile(A, reps)
trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None)
transpose(a, axes=None)
trapezoid(y, x=None, dx=1.0, axis=-1)
tri(N, M=None, k=0, dtype=float)
tril(m, k=0)
tril_indices(n, k=0, m=None)
tril_indices_from(arr, k=0)
trim_zeros(filt, trim='fb')
triu(m, k=0)
triu_indices(n, k=0, m=None)
triu_indices_from(arr, k=0)
union1d(arr1, arr2)
unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True)
unique_all(x)
unique_counts(x)
unique_inverse(x)
unique_values(x)
unpackbits(a, axis=None, bitorder='big')
unravel_index(indices, dims, order='C')
unwrap(p, discont=None, axis=-1, *, period=6.283185307179586)
vander(x, N=None, increasing=False)
var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
vdot(a, b)
vsplit(ary, indices_or_sections)
vstack(tup, *, dtype=None, casting='same_kind')
where(condition, x=None, y=None)
zeros(shape, dtype=float, order='C')
zeros_like(a, dtype=None, order='K', subok=None, shape=None)
"""

METHODS = """\
all(self, axis=None, out=None, keepdims=False)
any(self, axis=None, out=None, keepdims=False)
argmax(self, axis=None, out=None, dtype=None, keepdims=False)
argmin(self, axis=None, out=None, dtype=None, keepdims=False)
argpartition(self, kth, axis=-1)
argsort(self, axis=-1, kind=None)
astype(self, dtype, order='K', casting=None, subok=None, copy=True)
byteswap(self, inplace=False)
choose(self, choices, out=None, mode='raise')
clip(self, min=None, max=None, out=None)
compress(self, condition, axis=None, out=None)
conj(self)
conjugate(self)
copy(self, order='C')
cumprod(self, axis=None, dtype=None, out=None)
cumsum(self, axis=None, dtype=None, out=None)
diagonal(self, offset=0, axis1=0, axis2=1)
dot(self, b, out=None)
dump(self, file)
dumps(self)
fill(self, value)
flatten(self, order='C')
item(self)
max(self, axis=None, out=None, keepdims=False)
mean(self, axis=None, dtype=None, out=None, keepdims=False)
min(self, axis=None, out=None, keepdims=False)
nonzero(self)
partition(self, kth, axis=-1)
prod(self, axis=None, dtype=None, out=None, keepdims=None)
put(self, indices, values, mode='wrap')
ravel(self, order='C')
repeat(self, repeats, axis=None)
reshape(self, *shape, order='C', copy=None)
round(self, decimals=0, out=None)
searchsorted(self, v, side='left', sorter=None)
sort(self, axis=-1, kind=None)
squeeze(self, axis=None)
std(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
sum(self, axis=None, dtype=None, out=None, keepdims=False)
swapaxes(self, axis1, axis2)
take(self, indices, axis=None, out=None)
tobytes(self, order='C')
tofile(self, fid, sep='', format='%s')
tolist(self)
trace(self, offset=0, axis1=0, axis2=1, dtype=None, out=None)
transpose(self, *axes)
var(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
view(self, dtype=None, type=None)
"""

UFUNCS = """\
abs ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->f D->d
absolute ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->f D->d
acos e->e E->E f->f d->d F->F D->D
acosh e->e E->E f->f d->d F->F D->D
add ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
arccos e->e E->E f->f d->d F->F D->D
arccosh e->e E->E f->f d->d F->F D->D
arcsin e->e E->E f->f d->d F->F D->D
arcsinh e->e E->E f->f d->d F->F D->D
arctan e->e E->E f->f d->d F->F D->D
arctan2 ee->e EE->E ff->f dd->d FF->F DD->D
arctanh e->e E->E f->f d->d F->F D->D
asin e->e E->E f->f d->d F->F D->D
asinh e->e E->E f->f d->d F->F D->D
atan e->e E->E f->f d->d F->F D->D
atan2 ee->e EE->E ff->f dd->d FF->F DD->D
atanh e->e E->E f->f d->d F->F D->D
bitwise_and ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
bitwise_count b->B B->B h->B H->B i->B I->B l->B L->B q->B Q->B
bitwise_invert ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q
bitwise_left_shift bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
bitwise_not ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q
bitwise_or ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
bitwise_right_shift bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
bitwise_xor ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
cbrt e->e E->E f->f d->d
ceil ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d
conj b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
conjugate b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
copysign ee->e EE->E ff->f dd->d FF->F DD->D
cos e->e E->E f->f d->d F->F D->D
cosh e->e E->E f->f d->d F->F D->D
deg2rad e->e E->E f->f d->d
degrees e->e E->E f->f d->d
divide qq->d qQ->d Qq->d QQ->d ee->e EE->E ff->f dd->d FF->F DD->D
divmod bb->bb BB->BB hh->hh HH->HH ii->ii II->II ll->ll LL->LL qq->qq QQ->QQ ee->ee ff->ff dd->dd
equal ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
exp e->e E->E f->f d->d F->F D->D
exp2 e->e E->E f->f d->d F->F D->D
expm1 e->e E->E f->f d->d F->F D->D
fabs e->e E->E f->f d->d
float_power dd->d FF->D DD->D
floor ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d
floor_divide bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d
fmax ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
fmin ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
fmod bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d
frexp e->ei E->Ei f->fi d->di
gcd ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
greater ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
greater_equal ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
heaviside ee->e EE->E ff->f dd->d
hypot ee->e EE->E ff->f dd->d FF->F DD->D
invert ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q
isfinite e->? E->? f->? d->? F->? D->?
isinf e->? E->? f->? d->? F->? D->?
isnan e->? E->? f->? d->? F->? D->?
lcm ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
ldexp ei->e Ei->E fi->f el->e El->E fl->f di->d dq->d
left_shift bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
less ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
less_equal ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
log e->e E->E f->f d->d F->F D->D
log10 e->e E->E f->f d->d F->F D->D
log1p e->e E->E f->f d->d F->F D->D
log2 e->e E->E f->f d->d F->F D->D
logaddexp ee->e EE->E ff->f dd->d
logaddexp2 ee->e EE->E ff->f dd->d
logical_and ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->?
logical_not ?->? b->? B->? h->? H->? i->? I->? l->? L->? q->? Q->? e->? f->? d->?
logical_or ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->?
logical_xor ??->? bb->? BB->? hh->? HH->? ii->? II->? ll->? LL->? qq->? QQ->? ee->? ff->? dd->?
maximum ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
minimum ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
mod bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d
modf e->ee E->EE f->ff d->dd
multiply ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
negative ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
nextafter ee->e EE->E ff->f dd->d FF->F DD->D
not_equal ??->? qq->? QQ->? qQ->? Qq->? ee->? EE->? ff->? dd->? FF->? DD->?
positive ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
pow ??->b bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
power ??->b bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
rad2deg e->e E->E f->f d->d
radians e->e E->E f->f d->d
reciprocal b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
remainder bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d
right_shift bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q
rint e->e E->E f->f d->d F->F D->D
sign b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
signbit e->? E->? f->? d->?
sin e->e E->E f->f d->d F->F D->D
sinh e->e E->E f->f d->d F->F D->D
sqrt e->e E->E f->f d->d F->F D->D
square b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d F->F D->D
subtract ??->? bb->b BB->B hh->h HH->H ii->i II->I ll->l LL->L qq->q QQ->Q ee->e EE->E ff->f dd->d FF->F DD->D
tan e->e E->E f->f d->d F->F D->D
tanh e->e E->E f->f d->d F->F D->D
true_divide qq->d qQ->d Qq->d QQ->d ee->e EE->E ff->f dd->d FF->F DD->D
trunc ?->? b->b B->B h->h H->H i->i I->I l->l L->L q->q Q->Q e->e E->E f->f d->d
"""

SPECIAL = """\
bdtr fff->f dld->d ddd->d
bdtrc fff->f dld->d ddd->d
bdtri fff->f dld->d ddd->d
beta ll->d LL->d ee->d ff->f dd->d
betainc fff->f ddd->d
betaincinv fff->f ddd->d
betaln ll->d LL->d ee->d ff->f dd->d
binom ff->f dd->d
boxcox ee->f ff->f dd->d
boxcox1p ee->f ff->f dd->d
btdtr
btdtri
cbrt l->d L->d e->d f->f d->d
chdtr ff->f dd->d
chdtrc ff->f dd->d
chdtri ff->f dd->d
cosdg l->d L->d e->d f->f d->d
cosm1 l->d L->d e->d f->f d->d
cotdg l->d L->d e->d f->f d->d
digamma l->d e->d f->f d->d F->F D->D
ellipeinc ff->f dd->d
ellipj ff->ffff dd->dddd
ellipk f->f d->d
ellipkinc ff->f dd->d
ellipkm1 f->f d->d
entr f->f d->d
erf e->d f->f d->d
erfc e->d f->f d->d
erfcinv f->f d->d
erfcx e->d f->f d->d
erfinv f->f d->d
exp1 f->f d->d
exp10 e->d l->d L->d f->f d->d
exp2 e->d l->d L->d f->f d->d
expi f->f d->d
expit e->d f->f d->d
expm1 e->d l->d L->d f->f d->d F->F D->D
expn ff->f dd->d
exprel l->d L->d e->d f->f d->d F->F D->D
fdtr fff->f ddd->d
fdtrc fff->f ddd->d
fdtri fff->f ddd->d
gamma l->d e->d f->f d->d F->F D->D
gammainc ff->f dd->d
gammaincc ff->f dd->d
gammainccinv ff->f dd->d
gammaincinv ff->f dd->d
gammaln l->d e->d f->f d->d
gammasgn l->d L->d e->d f->f d->d
gdtr fff->f ddd->d
gdtrc fff->f ddd->d
huber ff->f dd->d
i0 l->d L->d e->d f->f d->d
i0e l->d L->d e->d f->f d->d
i1 l->d L->d e->d f->f d->d
i1e l->d L->d e->d f->f d->d
inv_boxcox ee->f ff->f dd->d
inv_boxcox1p ee->f ff->f dd->d
j0 l->d L->d e->d f->f d->d
j1 l->d L->d e->d f->f d->d
k0 l->d L->d e->d f->f d->d
k0e l->d L->d e->d f->f d->d
k1 l->d L->d e->d f->f d->d
k1e l->d L->d e->d f->f d->d
kl_div ff->f dd->d
lambertw
log1p l->d L->d e->d f->f F->F d->d D->D
log_expit e->d f->f d->d
log_ndtr e->d f->f d->d
log_softmax
loggamma l->d e->d f->f d->d F->F D->D
logit e->d f->f d->d
logsumexp
lpmv fff->f ddd->d
multigammaln
nbdtr lld->d fff->f ddd->d
nbdtrc lld->d fff->f ddd->d
nbdtri lld->d fff->f ddd->d
ndtr e->d f->f d->d
ndtri f->f d->d
pdtr ff->f dd->d
pdtrc ff->f dd->d
pdtri ld->d ff->f dd->d
poch ff->f dd->d
polygamma
pseudo_huber ff->f dd->d
psi l->d e->d f->f d->d F->F D->D
radian lll->d LLL->d eee->d fff->f ddd->d
rel_entr ff->f dd->d
rgamma l->d e->d f->f d->d F->F D->D
round
shichi f->ff d->dd F->FF D->DD
sici f->ff d->dd F->FF D->DD
sinc e->e E->E f->f d->d F->F D->D
sindg l->d L->d e->d f->f d->d
softmax
sph_harm
sph_harm_y
spherical_yn
tandg l->d L->d e->d f->f d->d
wright_bessel fff->f ddd->d
xlog1py ee->d ll->d LL->d ff->f dd->d FF->F DD->D
xlogy ee->d ll->d LL->d ff->f dd->d FF->F DD->D
y0 l->d L->d e->d f->f d->d
y1 l->d L->d e->d f->f d->d
yn id->d dd->d
zeta ff->f dd->d
zetac l->d L->d e->d f->f d->d
"""

LINALG = """\
expm(a)
lu(a, permute_l=False, overwrite_a=False, check_finite=True)
lu_factor(a, overwrite_a=False, check_finite=True)
lu_solve(lu_and_piv, b, trans=0, overwrite_b=False, check_finite=True)
solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False, overwrite_b=False, check_finite=False)
"""
