// Transforms of 1 to 12 points in registers: complex, real to half a spectrum, half a spectrum to real. A lane is a
// problem of its own: nothing moves across lanes.
//   Dft<R>         x[k] <- sum over j of x[j] e^(-2 pi i j k / R), in place
//   RealDft<R>     y[k], k = 0 ... R / 2, of real x; y[0].im and, R even, y[R / 2].im are not written
//   HalfToReal<R>  x[j] = y[0] + sum over 0 < k < R / 2 of Re(y[k] e^(2 pi i j k / R)) + (R even) y[R / 2] (-1)^j; the
//                  factor 2 of the pairs and 1 / R are the caller's. y[0].im and y[R / 2].im are not read
// A transform back is one forward with re and im exchanged on both sides.
//
// Arrays of vectors: targets whose vectors have no fixed size do without this room. All loops have constant counts and
// are unrolled, arrays become registers. MulAdd is written where it is meant, so all targets with FMA give the same
// bits.
#if defined(LUTRA_FFT_CODELETS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LUTRA_FFT_CODELETS_INL_H_
#undef LUTRA_FFT_CODELETS_INL_H_
#else
#define LUTRA_FFT_CODELETS_INL_H_
#endif

#include "lutra/fft/pass.h"
#include "lutra/fft/twiddles.h"
#include "lutra/simd/tile-inl.h"

#if LUTRA_HAS_FFT
LUTRA_BEFORE_KERNELS
namespace lutra { inline namespace LUTRA_NS { namespace HWY_NAMESPACE {

template <class V>
struct Complex {
  V re, im;
  HWY_INLINE Complex() {}  // GCC's own would not be for the region's target (Arm)
  HWY_INLINE Complex(V r, V i) : re(r), im(i) {}
};
template <class V>
HWY_INLINE Complex<V> Plus(Complex<V> a, Complex<V> b) {
  return {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
}
template <class V>
HWY_INLINE Complex<V> Minus(Complex<V> a, Complex<V> b) {
  return {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
}
template <class V>
HWY_INLINE Complex<V> PlusI(Complex<V> a, Complex<V> b) {  // a + i b
  return {hn::Sub(a.re, b.im), hn::Add(a.im, b.re)};
}
template <class V>
HWY_INLINE Complex<V> MinusI(Complex<V> a, Complex<V> b) {  // a - i b
  return {hn::Add(a.re, b.im), hn::Sub(a.im, b.re)};
}
template <class V>
HWY_INLINE Complex<V> Scaled(Complex<V> a, V s) {
  return {hn::Mul(a.re, s), hn::Mul(a.im, s)};
}
template <class V>
HWY_INLINE Complex<V> ScaledPlus(Complex<V> a, V s, Complex<V> b) {  // a s + b
  return {hn::MulAdd(a.re, s, b.re), hn::MulAdd(a.im, s, b.im)};
}
template <class V>
HWY_INLINE Complex<V> MinusScaled(Complex<V> b, Complex<V> a, V s) {  // b - a s
  return {hn::NegMulAdd(a.re, s, b.re), hn::NegMulAdd(a.im, s, b.im)};
}
template <class V>
HWY_INLINE Complex<V> Times(Complex<V> a, V c, V s) {  // a (c + i s)
  return {hn::NegMulAdd(a.im, s, hn::Mul(a.re, c)), hn::MulAdd(a.re, s, hn::Mul(a.im, c))};
}
template <class V>
HWY_INLINE Complex<V> Exchanged(Complex<V> a) {
  return {a.im, a.re};
}
template <class V>
HWY_INLINE Complex<V> Conjugate(Complex<V> a) {
  return {a.re, hn::Neg(a.im)};
}
// a e^(-2 pi i j / R), and with e^(+2 pi i j / R).
template <int kR, class D, class V = hn::Vec<D>>
HWY_INLINE Complex<V> Turned(D d, Complex<V> a, int j) {
  return Times(a, hn::Set(d, fft::kTurns<kR>.cos[j]), hn::Set(d, -fft::kTurns<kR>.sin[j]));
}
template <int kR, class D, class V = hn::Vec<D>>
HWY_INLINE Complex<V> TurnedBack(D d, Complex<V> a, int j) {
  return Times(a, hn::Set(d, fft::kTurns<kR>.cos[j]), hn::Set(d, fft::kTurns<kR>.sin[j]));
}

inline constexpr float kHalfRoot2 = 0.70710678118654752f, kHalfRoot3 = 0.86602540378443865f;

// Radices that are products of coprime factors, in registers; the second factor is odd.
constexpr int OuterOf(int r) { return r == 6 || r == 10 ? 2 : r == 12 ? 4 : 0; }
template <int kA, int kB>
struct GoodThomas {
  static constexpr int kN = kA * kB;
  static constexpr int Time(int a, int b) { return (kB * a + kA * b) % kN; }
  static constexpr int Frequency(int a, int b) {
    for (int f = b; f < kN; f += kB) {
      if (f % kA == a) return f;
    }
    return 0;
  }
};

template <int kR, class D, class V = hn::Vec<D>>
HWY_INLINE void Dft(D d, Complex<V>* x) {
  if constexpr (kR == 1) {
    (void)d, (void)x;
  } else if constexpr (kR == 2) {
    const Complex<V> a = x[0];
    x[0] = Plus(a, x[1]);
    x[1] = Minus(a, x[1]);
  } else if constexpr (kR == 3) {
    const V s = hn::Set(d, kHalfRoot3);
    const Complex<V> t = Plus(x[1], x[2]), u = Minus(x[1], x[2]), m = MinusScaled(x[0], t, hn::Set(d, 0.5f));
    x[0] = Plus(x[0], t);
    x[1] = {hn::MulAdd(s, u.im, m.re), hn::NegMulAdd(s, u.re, m.im)};
    x[2] = {hn::NegMulAdd(s, u.im, m.re), hn::MulAdd(s, u.re, m.im)};
  } else if constexpr (kR == 4) {
    const Complex<V> a = Plus(x[0], x[2]), b = Minus(x[0], x[2]), c = Plus(x[1], x[3]), e = Minus(x[1], x[3]);
    x[0] = Plus(a, c);
    x[1] = MinusI(b, e);
    x[2] = Minus(a, c);
    x[3] = PlusI(b, e);
  } else if constexpr (kR == 8) {
    Complex<V> e[4] = {x[0], x[2], x[4], x[6]}, o[4] = {x[1], x[3], x[5], x[7]};
    Dft<4>(d, e);
    Dft<4>(d, o);
    const V q = hn::Set(d, kHalfRoot2);
    const Complex<V> o1 = MinusI(o[1], o[1]), o3 = PlusI(o[3], o[3]);  // (1 -+ i) o
    x[0] = Plus(e[0], o[0]);
    x[4] = Minus(e[0], o[0]);
    x[1] = ScaledPlus(o1, q, e[1]);
    x[5] = MinusScaled(e[1], o1, q);
    x[2] = MinusI(e[2], o[2]);
    x[6] = PlusI(e[2], o[2]);
    x[3] = MinusScaled(e[3], o3, q);
    x[7] = ScaledPlus(o3, q, e[3]);
  } else if constexpr (kR == 9) {
    Complex<V> t[3][3];
    Unrolled<3>([&](auto n_j) LUTRA_TILE {
      constexpr int j = static_cast<int>(n_j);
      HWY_UNROLL(16) for (int i = 0; i < 3; ++i) t[j][i] = x[3 * i + j];
      Dft<3>(d, t[j]);
    });
    t[1][1] = Turned<9>(d, t[1][1], 1);
    t[1][2] = Turned<9>(d, t[1][2], 2);
    t[2][1] = Turned<9>(d, t[2][1], 2);
    t[2][2] = Turned<9>(d, t[2][2], 4);
    Unrolled<3>([&](auto n_k) LUTRA_TILE {
      constexpr int k = static_cast<int>(n_k);
      Complex<V> v[3] = {t[0][k], t[1][k], t[2][k]};
      Dft<3>(d, v);
      HWY_UNROLL(16) for (int i = 0; i < 3; ++i) x[k + 3 * i] = v[i];
    });
  } else if constexpr (OuterOf(kR) != 0) {
    constexpr int kA = OuterOf(kR), kB = kR / kA;
    using Map = GoodThomas<kA, kB>;
    Complex<V> t[kA][kB];
    Unrolled<kA>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      Unrolled<kB>([&](auto n_b) LUTRA_TILE {
        constexpr int b = static_cast<int>(n_b);
        t[a][b] = x[Map::Time(a, b)];
      });
      Dft<kB>(d, t[a]);
    });
    Unrolled<kB>([&](auto n_b) LUTRA_TILE {
      constexpr int b = static_cast<int>(n_b);
      Complex<V> v[kA];
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        v[a] = t[a][b];
      });
      Dft<kA>(d, v);
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        x[Map::Frequency(a, b)] = v[a];
      });
    });
  } else {  // odd primes: points j and R - j together
    static_assert(kR % 2 == 1 && kR > 3);
    constexpr int kH = (kR - 1) / 2;
    constexpr const fft::TurnTable<kR>& turns = fft::kTurns<kR>;
    Complex<V> t[kH], u[kH];
    HWY_UNROLL(16) for (int j = 0; j < kH; ++j) {
      t[j] = Plus(x[j + 1], x[kR - 1 - j]);
      u[j] = Minus(x[j + 1], x[kR - 1 - j]);
    }
    const Complex<V> x0 = x[0];
    Complex<V> sum = x0;
    HWY_UNROLL(16) for (int j = 0; j < kH; ++j) sum = Plus(sum, t[j]);
    Unrolled<kH>([&](auto n_k) LUTRA_TILE {
      constexpr int k = static_cast<int>(n_k) + 1;
      Complex<V> m = x0, n = Scaled(u[0], hn::Set(d, turns.sin[k]));
      HWY_UNROLL(16) for (int j = 0; j < kH; ++j) m = ScaledPlus(t[j], hn::Set(d, turns.cos[(j + 1) * k % kR]), m);
      HWY_UNROLL(16) for (int j = 1; j < kH; ++j) n = ScaledPlus(u[j], hn::Set(d, turns.sin[(j + 1) * k % kR]), n);
      x[k] = MinusI(m, n);
      x[kR - k] = PlusI(m, n);
    });
    x[0] = sum;
  }
}

template <int kR, class D, class V = hn::Vec<D>>
HWY_INLINE void RealDft(D d, const V* x, Complex<V>* y) {
  if constexpr (kR == 1) {
    (void)d;
    y[0].re = x[0];
  } else if constexpr (kR == 2) {
    y[0].re = hn::Add(x[0], x[1]);
    y[1].re = hn::Sub(x[0], x[1]);
  } else if constexpr (kR == 3) {
    const V t = hn::Add(x[1], x[2]);
    y[0].re = hn::Add(x[0], t);
    y[1] = {hn::NegMulAdd(t, hn::Set(d, 0.5f), x[0]), hn::Mul(hn::Sub(x[2], x[1]), hn::Set(d, kHalfRoot3))};
  } else if constexpr (kR == 4) {
    const V a = hn::Add(x[0], x[2]), c = hn::Add(x[1], x[3]);
    y[0].re = hn::Add(a, c);
    y[1] = {hn::Sub(x[0], x[2]), hn::Sub(x[3], x[1])};
    y[2].re = hn::Sub(a, c);
  } else if constexpr (kR == 8) {  // even and odd points
    constexpr int kN = kR / 2;
    V e[kN], o[kN];
    Complex<V> even[kN / 2 + 1], odd[kN / 2 + 1];
    HWY_UNROLL(16) for (int j = 0; j < kN; ++j) {
      e[j] = x[2 * j];
      o[j] = x[2 * j + 1];
    }
    RealDft<kN>(d, e, even);
    RealDft<kN>(d, o, odd);
    y[0].re = hn::Add(even[0].re, odd[0].re);
    y[kN].re = hn::Sub(even[0].re, odd[0].re);
    y[kN / 2] = {even[kN / 2].re, hn::Neg(odd[kN / 2].re)};
    const V q = hn::Set(d, kHalfRoot2);
    const Complex<V> w = MinusI(odd[1], odd[1]);
    y[1] = ScaledPlus(w, q, even[1]);
    y[3] = {hn::NegMulAdd(q, w.re, even[1].re), hn::MulSub(q, w.im, even[1].im)};
  } else if constexpr (kR == 9) {
    Complex<V> g[3][2];
    Unrolled<3>([&](auto n_j) LUTRA_TILE {
      constexpr int j = static_cast<int>(n_j);
      const V v[3] = {x[j], x[j + 3], x[j + 6]};
      RealDft<3>(d, v, g[j]);
    });
    const V z[3] = {g[0][0].re, g[1][0].re, g[2][0].re};
    Complex<V> p[2];
    RealDft<3>(d, z, p);
    y[0].re = p[0].re;
    y[3] = p[1];
    Complex<V> t[3] = {g[0][1], Turned<9>(d, g[1][1], 1), Turned<9>(d, g[2][1], 2)};
    Dft<3>(d, t);
    y[1] = t[0];
    y[4] = t[1];
    y[2] = Conjugate(t[2]);
  } else if constexpr (OuterOf(kR) != 0) {
    constexpr int kA = OuterOf(kR), kB = kR / kA;
    using Map = GoodThomas<kA, kB>;
    Complex<V> t[kA][kB / 2 + 1];
    Unrolled<kA>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      V v[kB];
      Unrolled<kB>([&](auto n_b) LUTRA_TILE {
        constexpr int b = static_cast<int>(n_b);
        v[b] = x[Map::Time(a, b)];
      });
      RealDft<kB>(d, v, t[a]);
    });
    V v[kA];
    Complex<V> w[kA / 2 + 1];
    Unrolled<kA>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      v[a] = t[a][0].re;
    });
    RealDft<kA>(d, v, w);
    Unrolled<kA / 2 + 1>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      constexpr int k = Map::Frequency(a, 0), at = 2 * k <= kR ? k : kR - k;
      y[at].re = w[a].re;
      if (k != 0 && 2 * k != kR) y[at].im = at == k ? w[a].im : hn::Neg(w[a].im);
    });
    Unrolled<kB / 2>([&](auto n_b) LUTRA_TILE {
      constexpr int b = static_cast<int>(n_b) + 1;
      Complex<V> c[kA];
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        c[a] = t[a][b];
      });
      Dft<kA>(d, c);
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        constexpr int k = Map::Frequency(a, b);
        if (2 * k <= kR) {
          y[k] = c[a];
        } else {
          y[kR - k] = Conjugate(c[a]);
        }
      });
    });
  } else {
    static_assert(kR % 2 == 1 && kR > 3);
    constexpr int kH = (kR - 1) / 2;
    constexpr const fft::TurnTable<kR>& turns = fft::kTurns<kR>;
    V t[kH], u[kH];
    HWY_UNROLL(16) for (int j = 0; j < kH; ++j) {
      t[j] = hn::Add(x[j + 1], x[kR - 1 - j]);
      u[j] = hn::Sub(x[kR - 1 - j], x[j + 1]);
    }
    V sum = x[0];
    HWY_UNROLL(16) for (int j = 0; j < kH; ++j) sum = hn::Add(sum, t[j]);
    Unrolled<kH>([&](auto n_k) LUTRA_TILE {
      constexpr int k = static_cast<int>(n_k) + 1;
      V m = x[0], n = hn::Mul(u[0], hn::Set(d, turns.sin[k]));
      HWY_UNROLL(16) for (int j = 0; j < kH; ++j) m = hn::MulAdd(t[j], hn::Set(d, turns.cos[(j + 1) * k % kR]), m);
      HWY_UNROLL(16) for (int j = 1; j < kH; ++j) n = hn::MulAdd(u[j], hn::Set(d, turns.sin[(j + 1) * k % kR]), n);
      y[k] = {m, n};
    });
    y[0].re = sum;
  }
}

template <int kR, class D, class V = hn::Vec<D>>
HWY_INLINE void HalfToReal(D d, const Complex<V>* y, V* x) {
  if constexpr (kR == 1) {
    (void)d;
    x[0] = y[0].re;
  } else if constexpr (kR == 2) {
    x[0] = hn::Add(y[0].re, y[1].re);
    x[1] = hn::Sub(y[0].re, y[1].re);
  } else if constexpr (kR == 3) {
    const V s = hn::Set(d, kHalfRoot3), m = hn::NegMulAdd(y[1].re, hn::Set(d, 0.5f), y[0].re);
    x[0] = hn::Add(y[0].re, y[1].re);
    x[1] = hn::NegMulAdd(s, y[1].im, m);
    x[2] = hn::MulAdd(s, y[1].im, m);
  } else if constexpr (kR == 4 || kR == 8) {
    constexpr int kN = kR / 2;
    Complex<V> even[kN / 2 + 1], odd[kN / 2 + 1];
    V e[kN], o[kN];
    even[0].re = hn::Add(y[0].re, y[kN].re);
    odd[0].re = hn::Sub(y[0].re, y[kN].re);
    even[kN / 2].re = y[kN / 2].re;
    odd[kN / 2].re = hn::Neg(y[kN / 2].im);
    if constexpr (kR == 8) {
      even[1] = Plus(y[1], Conjugate(y[3]));
      const Complex<V> w = Minus(y[1], Conjugate(y[3]));
      odd[1] = Scaled(PlusI(w, w), hn::Set(d, kHalfRoot2));
    }
    HalfToReal<kN>(d, even, e);
    HalfToReal<kN>(d, odd, o);
    HWY_UNROLL(16) for (int j = 0; j < kN; ++j) {
      x[2 * j] = e[j];
      x[2 * j + 1] = o[j];
    }
  } else if constexpr (kR == 9) {
    const Complex<V> p[2] = {y[0], y[3]};
    V g[3];
    HalfToReal<3>(d, p, g);
    Complex<V> t[3] = {Exchanged(y[1]), Exchanged(y[4]), Exchanged(Conjugate(y[2]))};
    Dft<3>(d, t);
    Unrolled<3>([&](auto n_j) LUTRA_TILE {
      constexpr int j = static_cast<int>(n_j);
      const Complex<V> back = Exchanged(t[j]);
      const Complex<V> w[2] = {{g[j], g[j]}, j == 0 ? back : TurnedBack<9>(d, back, j)};
      V v[3];
      HalfToReal<3>(d, w, v);
      HWY_UNROLL(16) for (int i = 0; i < 3; ++i) x[j + 3 * i] = v[i];
    });
  } else if constexpr (OuterOf(kR) != 0) {
    constexpr int kA = OuterOf(kR), kB = kR / kA;
    using Map = GoodThomas<kA, kB>;
    Complex<V> t[kA][kB / 2 + 1], w[kA / 2 + 1];
    V v[kA];
    Unrolled<kA / 2 + 1>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      constexpr int k = Map::Frequency(a, 0), at = 2 * k <= kR ? k : kR - k;
      w[a].re = y[at].re;
      if (k != 0 && 2 * k != kR) w[a].im = at == k ? y[at].im : hn::Neg(y[at].im);
    });
    HalfToReal<kA>(d, w, v);
    Unrolled<kA>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      t[a][0].re = v[a];
    });
    Unrolled<kB / 2>([&](auto n_b) LUTRA_TILE {
      constexpr int b = static_cast<int>(n_b) + 1;
      Complex<V> c[kA];
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        constexpr int k = Map::Frequency(a, b);
        c[a] = Exchanged(2 * k <= kR ? y[k] : Conjugate(y[kR - k]));
      });
      Dft<kA>(d, c);
      Unrolled<kA>([&](auto n_a) LUTRA_TILE {
        constexpr int a = static_cast<int>(n_a);
        t[a][b] = Exchanged(c[a]);
      });
    });
    Unrolled<kA>([&](auto n_a) LUTRA_TILE {
      constexpr int a = static_cast<int>(n_a);
      V r[kB];
      HalfToReal<kB>(d, t[a], r);
      Unrolled<kB>([&](auto n_b) LUTRA_TILE {
        constexpr int b = static_cast<int>(n_b);
        x[Map::Time(a, b)] = r[b];
      });
    });
  } else {
    static_assert(kR % 2 == 1 && kR > 3);
    constexpr int kH = (kR - 1) / 2;
    constexpr const fft::TurnTable<kR>& turns = fft::kTurns<kR>;
    V sum = y[0].re;
    HWY_UNROLL(16) for (int j = 1; j <= kH; ++j) sum = hn::Add(sum, y[j].re);
    Unrolled<kH>([&](auto n_k) LUTRA_TILE {
      constexpr int k = static_cast<int>(n_k) + 1;
      V m = y[0].re, n = hn::Mul(y[1].im, hn::Set(d, turns.sin[k]));
      HWY_UNROLL(16) for (int j = 1; j <= kH; ++j) m = hn::MulAdd(y[j].re, hn::Set(d, turns.cos[j * k % kR]), m);
      HWY_UNROLL(16) for (int j = 2; j <= kH; ++j) n = hn::MulAdd(y[j].im, hn::Set(d, turns.sin[j * k % kR]), n);
      x[k] = hn::Sub(m, n);
      x[kR - k] = hn::Add(m, n);
    });
    x[0] = sum;
  }
}

}}}  // namespace lutra::LUTRA_NS::HWY_NAMESPACE
LUTRA_AFTER_KERNELS
#endif  // LUTRA_HAS_FFT
#endif
