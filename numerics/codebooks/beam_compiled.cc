// The loops of beam_compiled.py. LANES rows are searched together; the rows are on the last axis.
//
// Compile-time macros: REAL and INDEX, a float and an integer type of the same size, and SIZE, the
// number of weights in a group. Names are those of beam_one.py, where each step is one line.

#include <cmath>
#include <cstdint>

// Bytes of a vector register, and the most columns in a tile, whose sums all fit in registers. Rows
// fill two registers (PARTS), because an addition has to wait for the previous one.
#if defined(__AVX512F__)
constexpr int BYTES = 64, MOST = 8;
#elif defined(__AVX__)
constexpr int BYTES = 32, MOST = 4;
#else
constexpr int BYTES = 16, MOST = 4;
#endif
constexpr int PARTS = 2, LANES = PARTS * BYTES / sizeof(REAL);
constexpr REAL INFINITE = INFINITY;

typedef REAL Reals __attribute__((vector_size(BYTES)));
typedef INDEX Indices __attribute__((vector_size(BYTES)));

// One number of each of LANES rows.
union Lanes {
  Reals part[PARTS];
  REAL row[LANES];
};
union Codes {
  Indices part[PARTS];
  INDEX row[LANES];
};

constexpr int tile_of(int size) {
  int tile = size < MOST ? size : MOST;
  while (size % tile) --tile;
  return tile;
}
constexpr int TILE = tile_of(SIZE);

// slopes = left @ hessian, for TILE columns.
static void multiply(const Lanes *left, const REAL *hessian, int64_t columns, Lanes *slopes) {
  Reals sum[TILE][PARTS] = {};
  for (int64_t k = 0; k < columns; ++k)
    for (int i = 0; i < TILE; ++i)
      for (int p = 0; p < PARTS; ++p) sum[i][p] += left[k].part[p] * hessian[k * SIZE + i];
  for (int i = 0; i < TILE; ++i)
    for (int p = 0; p < PARTS; ++p) slopes[i].part[p] = sum[i][p];
}

static void take(const REAL *codebook, const Codes &codes, Lanes *entries) {
  for (int r = 0; r < LANES; ++r)
    for (int i = 0; i < SIZE; ++i) entries[i].row[r] = codebook[(int64_t)codes.row[r] * SIZE + i];
}

// Returns the first entry with the least loss, square * curve + factors . entry.
static Codes search(const Lanes *factors, const Lanes &square, const REAL *codebook,
                    const REAL *curve, int64_t entries) {
  Reals factor[SIZE][PARTS], squared[PARTS], least[PARTS];
  Indices index[PARTS], entry = {};
  for (int p = 0; p < PARTS; ++p) {
    for (int i = 0; i < SIZE; ++i) factor[i][p] = factors[i].part[p];
    squared[p] = square.part[p];
    least[p] = Reals{} + INFINITE;
    index[p] = Indices{};
  }
  for (int64_t e = 0; e < entries; ++e, entry += 1)
    for (int p = 0; p < PARTS; ++p) {
      Reals loss = squared[p] * curve[e];
      for (int i = 0; i < SIZE; ++i) loss += factor[i][p] * codebook[e * SIZE + i];
      const Indices is_less = loss < least[p];
      least[p] = is_less ? loss : least[p];
      index[p] = is_less ? entry : index[p];
    }
  Codes found;
  for (int p = 0; p < PARTS; ++p) found.part[p] = index[p];
  return found;
}

// Returns whether all sums of the search are finite, so that no loss is NaN.
static bool is_finite(const Lanes *factors, const Lanes &square, const REAL *largest) {
  bool all = true;
  for (int r = 0; r < LANES; ++r) {
    REAL reach = square.row[r] * largest[1];
    for (int i = 0; i < SIZE; ++i) reach += std::abs(factors[i].row[r]) * largest[0];
    all &= reach < INFINITE;
  }
  return all;
}

// Improves the codes of one group in place, and adds the change of the residual to left.
static bool improve_group(Lanes *left, Codes *codes, const Lanes &scale, const REAL *hessian,
                          const REAL *codebook, const REAL *curve, const REAL *largest,
                          int64_t columns, int64_t group, int64_t codebooks, int64_t entries) {
  Lanes slopes[SIZE], factors[SIZE], taken[SIZE], without[SIZE], moved[SIZE] = {}, square;
  for (int i = 0; i < SIZE; i += TILE) multiply(left, hessian + i, columns, slopes + i);
  for (int p = 0; p < PARTS; ++p) square.part[p] = scale.part[p] * scale.part[p];
  const REAL *block = hessian + group * SIZE * SIZE;
  for (int64_t number = 0; number < codebooks; ++number) {
    take(codebook, codes[number], taken);
    for (int i = 0; i < SIZE; ++i)
      for (int p = 0; p < PARTS; ++p)
        without[i].part[p] = taken[i].part[p] * scale.part[p] + moved[i].part[p];
    for (int i = 0; i < SIZE; ++i)
      for (int p = 0; p < PARTS; ++p) {
        Reals sum = slopes[i].part[p];
        for (int j = 0; j < SIZE; ++j) sum += without[j].part[p] * block[j * SIZE + i];
        factors[i].part[p] = sum * scale.part[p] * (REAL)-2;
      }
    if (!is_finite(factors, square, largest)) return false;
    codes[number] = search(factors, square, codebook, curve, entries);
    take(codebook, codes[number], taken);
    for (int i = 0; i < SIZE; ++i)
      for (int p = 0; p < PARTS; ++p)
        moved[i].part[p] = without[i].part[p] - taken[i].part[p] * scale.part[p];
    codebook += entries * SIZE;
    curve += entries;
  }
  for (int i = 0; i < SIZE; ++i)
    for (int p = 0; p < PARTS; ++p) left[group * SIZE + i].part[p] += moved[i].part[p];
  return true;
}

extern "C" {

int64_t lanes() { return LANES; }

// Computes c B c^T of each entry c, where B is the group's diagonal block of the Hessian.
void find_curves(Lanes *curves,           // groups of the panel x blocks of entries
                 const REAL *hessian,     // groups of the panel x columns x SIZE
                 const Lanes *entries,    // blocks of entries x SIZE
                 int64_t columns, int64_t blocks, int64_t first, int64_t last) {
  for (int64_t group = first; group < last; ++group, hessian += columns * SIZE)
    for (int64_t block = 0; block < blocks; ++block, ++curves)
      for (int p = 0; p < PARTS; ++p) {
        Reals curve = {};
        for (int i = 0; i < SIZE; ++i) {
          Reals sum = {};
          for (int j = 0; j < SIZE; ++j)
            sum += entries[block * SIZE + j].part[p] * hessian[(group * SIZE + j) * SIZE + i];
          curve += sum * entries[block * SIZE + i].part[p];
        }
        curves->part[p] = curve;
      }
}

// Improves a panel of groups for some blocks of rows; returns false if sums may not be finite.
bool improve(Lanes *left,           // blocks x columns
             Codes *codes,          // blocks x groups x codebooks
             const Lanes *scales,   // blocks
             const REAL *hessian,   // groups of the panel x columns x SIZE
             const REAL *books,     // codebooks x entries x SIZE
             const REAL *curves,    // groups of the panel x codebooks x entries
             const REAL *largest,   // largest magnitude of books, and of curves
             int64_t blocks, int64_t columns, int64_t codebooks, int64_t entries,
             int64_t first, int64_t last) {
  const int64_t groups = columns / SIZE;
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t group = first; group < last; ++group)
      if (!improve_group(left + block * columns, codes + (block * groups + group) * codebooks,
                         scales[block], hessian + (group - first) * columns * SIZE, books,
                         curves + (group - first) * codebooks * entries, largest, columns, group,
                         codebooks, entries))
        return false;
  return true;
}
}
