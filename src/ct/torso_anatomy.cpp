#include "ct/torso_anatomy.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ct/phantom_randomness.hpp"

namespace leda::ct {
namespace {

constexpr double kPi = std::numbers::pi;

double rise(double low, double high, double value) {  // 0 below `low`, 1 above `high`, smooth between
  const double t = std::clamp((value - low) / (high - low), 0.0, 1.0);
  return t * t * (3.0 - 2.0 * t);
}

// Numbers are drawn in statements or braces, never in a call's arguments, whose order is the compiler's choice.
class TorsoPainter {
 public:
  TorsoPainter(std::uint64_t seed, std::int64_t patient, std::int64_t slice)
      : random_(seed, patient, slice), level_(random_.level()) {
    slice_.pose = {random_.fixed(-4.0, 4.0), random_.fixed(-10.0, 10.0), random_.fixed(-0.09, 0.09)};
    const double build = random_.fixed(0.92, 1.04);
    const double fat_mm = random_.varying(8.0, 21.0);
    wall_width_ = build * 143.0;
    wall_height_ = build * 106.0;
    half_width_ = wall_width_ + fat_mm;
    half_height_ = wall_height_ + 0.8 * fat_mm;
    cavity_width_ = wall_width_ - random_.varying(13.0, 18.0);
    cavity_height_ = wall_height_ - random_.varying(11.0, 15.0);
    // Most scans are taken with a contrast agent; without it blood looks like soft tissue.
    is_enhanced_ = random_.happens(0.85);
    blood_hu_ = enhanced_or_plain(120.0, 185.0, 38.0, 48.0);
  }

  TorsoSlice paint() {
    body();
    for (const double side : {-1.0, 1.0}) lung(side);
    heart();
    stomach();
    bowel();
    liver();
    spleen();
    for (const double side : {-1.0, 1.0}) kidney(side);
    for (const double side : {-1.0, 1.0}) lung_recess(side);
    great_vessels();
    spine();
    for (const double side : {-1.0, 1.0}) ribs(side);
    sternum();
    return slice_;
  }

 private:
  void add(const Structure& structure) { slice_.structures.push_back(structure); }

  struct Insert {
    double x_mm, y_mm, radius_mm;
    Material material;
  };
  // A round or oval structure of its own density, whatever lies around it.
  void insert(const Insert& disc) {
    add({{.x_mm = disc.x_mm,
          .y_mm = disc.y_mm,
          .half_width_mm = disc.radius_mm,
          .half_height_mm = disc.radius_mm * random_.fixed(0.75, 1.0),
          .turn = random_.fixed(0.0, kPi)},
         disc.material});
  }
  double enhanced_or_plain(double low, double high, double plain_low, double plain_high) {
    return is_enhanced_ ? random_.fixed(low, high) : random_.fixed(plain_low, plain_high);
  }

  void body();
  void lung(double side);
  void lung_vessels(const WavyEllipse& lung, double size);
  void lung_recess(double side);
  void heart();
  void stomach();
  void bowel();
  void liver();
  void liver_inserts(const WavyEllipse& liver, double size, double liver_hu);
  void spleen();
  void kidney(double side);
  void great_vessels();
  void spine();
  void ribs(double side);
  void sternum();

  PhantomRandomness random_;
  double level_;
  TorsoSlice slice_;
  double half_width_ = 0.0, half_height_ = 0.0;      // skin
  double wall_width_ = 0.0, wall_height_ = 0.0;      // outer side of the muscles
  double cavity_width_ = 0.0, cavity_height_ = 0.0;  // inner side of the muscles
  bool is_enhanced_ = false;
  double blood_hu_ = 0.0;
};

void TorsoPainter::body() {
  const double wave_2 = random_.varying(-0.01, 0.01), wave_3 = random_.varying(-0.012, 0.012);
  const auto outline = [&](double width, double height) {
    return WavyEllipse{
        .half_width_mm = width, .half_height_mm = height, .wave_2 = wave_2, .wave_3 = wave_3, .phase_3 = 0.5 * kPi};
  };
  const double fat_hu = random_.fixed(-115.0, -95.0), muscle_hu = random_.varying(48.0, 66.0);
  const Material muscle{muscle_hu, 10.0};
  add({outline(half_width_ + 1.5, half_height_ + 1.5), {30.0, 4.0}});  // skin
  add({outline(half_width_, half_height_), {fat_hu, 9.0}});
  add({outline(wall_width_, wall_height_), muscle});
  add({outline(cavity_width_, cavity_height_), {fat_hu + 4.0, 12.0}});
  // The muscles beside the spine in their sheets of fat.
  for (const double side : {-1.0, 1.0}) {
    WavyEllipse ellipse{.x_mm = side * random_.varying(30.0, 36.0),
                        .y_mm = 0.84 * cavity_height_,
                        .half_width_mm = 29.0,
                        .half_height_mm = 19.0,
                        .turn = -0.25 * side};
    add({ellipse, {fat_hu, 9.0}});
    ellipse.half_width_mm -= 2.0;
    ellipse.half_height_mm -= 2.0;
    add({ellipse, muscle});
  }
}

void TorsoPainter::lung(double side) {
  // Down the body the lungs withdraw to the back.
  const double size = 1.0 - 0.62 * rise(0.25, 1.0, level_);
  const WavyEllipse lung{.x_mm = side * cavity_width_ * (0.6 - 0.06 * size),
                         .y_mm = 0.52 * cavity_height_ * (1.0 - size),
                         .half_width_mm = 0.44 * cavity_width_ * (0.35 + 0.65 * size),
                         .half_height_mm = 0.86 * cavity_height_ * size,
                         .turn = 0.12 * side,
                         .wave_2 = random_.varying(-0.03, 0.03),
                         .wave_3 = random_.varying(0.0, 0.07),
                         .phase_3 = side > 0.0 ? kPi : 0.0};
  add({lung, {random_.varying(-870.0, -790.0), 28.0}});
  lung_vessels(lung, size);
  // The bronchus with its wall, and a nodule in some slices.
  WavyEllipse bronchus{.x_mm = lung.x_mm - side * 0.62 * lung.half_width_mm,
                       .y_mm = lung.y_mm + 0.1 * lung.half_height_mm};
  bronchus.half_width_mm = random_.varying(3.0, 6.0) * (1.0 - rise(0.4, 0.7, level_));
  bronchus.half_height_mm = 0.9 * bronchus.half_width_mm;
  WavyEllipse wall = bronchus;
  wall.half_width_mm *= 1.4;
  wall.half_height_mm *= 1.4;
  add({wall, {35.0, 5.0}});
  add({bronchus, {-985.0, 0.0}});
  insert({lung.x_mm + random_.fixed(-0.5, 0.5) * lung.half_width_mm,
          lung.y_mm + random_.fixed(-0.5, 0.5) * lung.half_height_mm,
          size * random_.passing(3.0, 9.0),
          {random_.fixed(-20.0, 80.0), 6.0}});
}

// Vessels thin out from the root of the lung towards the ribs.
void TorsoPainter::lung_vessels(const WavyEllipse& lung, double size) {
  const int num_vessels = random_.count(30, 45);
  for (int i = 0; i < num_vessels; ++i) {
    const double distance = std::sqrt(random_.varying(0.02, 0.85)), angle = random_.varying(0.0, 2.0 * kPi);
    const double radius_mm = size * (random_.varying(1.2, 2.2) + 3.6 * std::pow(1.0 - distance, 2.0));
    const double length = random_.happens(0.35) ? random_.fixed(2.0, 5.0) : 1.0;
    add({{.x_mm = lung.x_mm + 0.93 * lung.half_width_mm * distance * std::cos(angle),
          .y_mm = lung.y_mm + 0.93 * lung.half_height_mm * distance * std::sin(angle),
          .half_width_mm = radius_mm * length,
          .half_height_mm = radius_mm,
          .turn = angle + random_.fixed(-0.5, 0.5)},
         {enhanced_or_plain(90.0, 150.0, 30.0, 45.0), 0.0}});
  }
}

// The lung's lowest tip, which hangs down behind liver and spleen.
void TorsoPainter::lung_recess(double side) {
  const double size = rise(0.4, 0.6, level_) * (1.0 - 0.35 * rise(0.8, 1.0, level_));
  add({{.x_mm = side * 0.66 * cavity_width_,
        .y_mm = 0.6 * cavity_height_,
        .half_width_mm = 0.2 * cavity_width_ * size,
        .half_height_mm = 0.12 * cavity_height_ * size,
        .turn = -0.7 * side},
       {random_.varying(-860.0, -780.0), 25.0}});
}

void TorsoPainter::heart() {
  const double here = (1.0 - rise(0.35, 0.62, level_)) * (0.62 + 0.38 * rise(0.0, 0.2, level_));
  const double size = here * random_.varying(0.95, 1.15);
  const double x_mm = random_.varying(10.0, 18.0), y_mm = -0.3 * cavity_height_;
  const double turn = random_.varying(0.35, 0.7);
  const Material muscle{enhanced_or_plain(92.0, 112.0, 40.0, 50.0), 6.0};
  const auto part = [&](double along, double across, double width, double height, const Material& material) {
    add({{.x_mm = x_mm + size * (along * std::cos(turn) - across * std::sin(turn)),
          .y_mm = y_mm + size * (along * std::sin(turn) + across * std::cos(turn)),
          .half_width_mm = size * width,
          .half_height_mm = size * height,
          .turn = turn,
          .wave_3 = 0.05},
         material});
  };
  part(0.0, 0.0, 54.0, 42.0, {-90.0, 8.0});  // fat of the outer sac
  part(0.0, 0.0, 50.0, 38.0, muscle);
  part(16.0, 12.0, 24.0, 13.0, {blood_hu_, 3.0});
  part(14.0, -17.0, 25.0, 13.0, {blood_hu_ + 6.0, 3.0});
  part(-24.0, 11.0, 17.0, 16.0, {blood_hu_, 3.0});
  part(-22.0, -18.0, 16.0, 13.0, {blood_hu_ + 4.0, 3.0});
  insert({x_mm - 3.0, y_mm - 4.0, size * random_.passing(1.5, 3.5), {random_.fixed(350.0, 700.0), 0.0}});
}

void TorsoPainter::stomach() {
  const double size = rise(0.42, 0.6, level_) * random_.varying(0.85, 1.15);
  const WavyEllipse wall{.x_mm = 0.44 * cavity_width_,
                         .y_mm = -0.32 * cavity_height_,
                         .half_width_mm = 44.0 * size,
                         .half_height_mm = 30.0 * size,
                         .turn = random_.varying(-0.4, 0.2),
                         .wave_3 = 0.06};
  WavyEllipse content = wall;
  content.half_width_mm -= 3.5;
  content.half_height_mm -= 3.5;
  const double gas_mm = std::min(random_.varying(5.0, 12.0), 0.5 * content.half_height_mm);
  add({wall, {is_enhanced_ ? 78.0 : 42.0, 6.0}});
  add({content, {random_.fixed(2.0, 15.0), 3.0}});
  add({{.x_mm = wall.x_mm,
        .y_mm = wall.y_mm - 0.42 * content.half_height_mm,
        .half_width_mm = 1.7 * gas_mm,
        .half_height_mm = gas_mm},
       {-990.0, 0.0}});
}

void TorsoPainter::bowel() {
  const double size = rise(0.66, 0.85, level_);
  const int num_loops = random_.count(4, 7);
  for (int i = 0; i < num_loops; ++i) {
    const double loop_mm = size * random_.varying(8.0, 14.0);
    const double x_mm = random_.varying(-0.25, 0.62) * cavity_width_;
    const double y_mm = random_.varying(-0.62, 0.15) * cavity_height_;
    insert({x_mm, y_mm, loop_mm, {is_enhanced_ ? 84.0 : 40.0, 7.0}});
    Material content{-980.0, 0.0};  // gas
    if (random_.happens(0.75)) content = {random_.fixed(5.0, 60.0), 5.0};
    insert({x_mm, y_mm, 0.68 * loop_mm, content});
  }
}

void TorsoPainter::liver() {
  const double size = rise(0.22, 0.6, level_);
  const double liver_hu = enhanced_or_plain(95.0, 125.0, 48.0, 66.0);
  const WavyEllipse liver{.x_mm = -0.47 * cavity_width_,
                          .y_mm = -0.02 * cavity_height_,
                          .half_width_mm = 0.5 * cavity_width_ * size,
                          .half_height_mm = 0.78 * cavity_height_ * size,
                          .turn = -0.1,
                          .wave_2 = random_.varying(-0.02, 0.04),
                          .wave_3 = 0.06};
  add({liver, {liver_hu, 8.0}});
  // The left lobe reaches over the midline.
  add({{.x_mm = -0.05 * cavity_width_,
        .y_mm = -0.48 * cavity_height_,
        .half_width_mm = 0.4 * cavity_width_ * size,
        .half_height_mm = 0.28 * cavity_height_ * size,
        .turn = 0.15},
       {liver_hu, 8.0}});
  liver_inserts(liver, size, liver_hu);
}

// Vessels, and lesions of several contrasts and sizes; cysts are water.
void TorsoPainter::liver_inserts(const WavyEllipse& liver, double size, double liver_hu) {
  const int num_vessels = random_.count(7, 12), num_lesions = random_.count(3, 6);
  for (int i = 0; i < num_vessels; ++i) {
    const double distance = std::sqrt(random_.varying(0.0, 0.65)), angle = random_.varying(0.0, 2.0 * kPi);
    const double vessel_mm = size * random_.varying(1.5, 3.6);
    add({{.x_mm = liver.x_mm + liver.half_width_mm * distance * std::cos(angle),
          .y_mm = liver.y_mm + liver.half_height_mm * distance * std::sin(angle),
          .half_width_mm = vessel_mm * random_.fixed(1.0, 5.0),
          .half_height_mm = vessel_mm,
          .turn = angle},
         {liver_hu + enhanced_or_plain(25.0, 50.0, -14.0, -10.0), 3.0}});
  }
  for (int i = 0; i < num_lesions; ++i) {
    const double distance = std::sqrt(random_.fixed(0.0, 0.6)), angle = random_.fixed(0.0, 2.0 * kPi);
    const double contrast_hu = random_.fixed(12.0, 55.0);
    Material lesion{random_.happens(0.7) ? liver_hu - contrast_hu : liver_hu + contrast_hu, 5.0};
    if (random_.happens(0.25)) lesion = {6.0, 2.0};
    insert({liver.x_mm + liver.half_width_mm * distance * std::cos(angle),
            liver.y_mm + liver.half_height_mm * distance * std::sin(angle), size * random_.passing(3.0, 14.0), lesion});
  }
}

void TorsoPainter::spleen() {
  const double size = rise(0.36, 0.6, level_) * random_.varying(0.85, 1.1);
  add({{.x_mm = 0.68 * cavity_width_,
        .y_mm = 0.2 * cavity_height_,
        .half_width_mm = 21.0 * size,
        .half_height_mm = 42.0 * size,
        .turn = 0.25,
        .wave_3 = 0.05},
       {enhanced_or_plain(105.0, 135.0, 42.0, 54.0), 6.0}});
}

void TorsoPainter::kidney(double side) {
  const double size = rise(0.52, 0.72, level_) * random_.varying(0.85, 1.1);
  const double x_mm = side * 0.45 * cavity_width_, y_mm = random_.varying(0.42, 0.5) * cavity_height_;
  const double cortex_hu = enhanced_or_plain(140.0, 190.0, 30.0, 38.0);
  const auto part = [&](double outwards, double width, double height, const Material& material) {
    add({{.x_mm = x_mm + side * outwards * size,
          .y_mm = y_mm,
          .half_width_mm = width * size,
          .half_height_mm = height * size,
          .turn = 0.35 * side},
         material});
  };
  part(0.0, 31.0, 33.0, {-104.0, 7.0});  // its capsule of fat
  part(0.0, 24.0, 27.0, {cortex_hu, 5.0});
  part(0.0, 16.0, 18.5, {is_enhanced_ ? cortex_hu - 40.0 : cortex_hu, 6.0});
  part(-10.0, 11.0, 10.0, {-85.0, 5.0});
  part(-9.0, 4.5, 5.0, {random_.fixed(3.0, 14.0), 0.0});
  insert({x_mm + side * 17.0 * size,
          y_mm - 14.0 * size,
          size * random_.passing(4.0, 10.0),
          {random_.fixed(0.0, 12.0), 0.0}});
}

void TorsoPainter::great_vessels() {
  const double aorta_mm = random_.varying(10.0, 13.5), cava_mm = random_.varying(9.0, 12.0);
  const double x_mm = random_.varying(10.0, 20.0), y_mm = 0.32 * cavity_height_;
  add({{.x_mm = x_mm, .y_mm = y_mm, .half_width_mm = aorta_mm + 1.5, .half_height_mm = aorta_mm + 1.5}, {50.0, 0.0}});
  add({{.x_mm = x_mm, .y_mm = y_mm, .half_width_mm = aorta_mm, .half_height_mm = aorta_mm}, {blood_hu_ + 8.0, 2.0}});
  insert({x_mm + 0.9 * aorta_mm, y_mm, random_.passing(1.2, 3.0), {random_.fixed(400.0, 900.0), 0.0}});
  add({{.x_mm = random_.varying(-24.0, -14.0),
        .y_mm = 0.22 * cavity_height_,
        .half_width_mm = 1.15 * cava_mm,
        .half_height_mm = 0.85 * cava_mm},
       {is_enhanced_ ? 0.5 * (blood_hu_ + 95.0) : blood_hu_, 3.0}});
  // The gullet, between aorta and heart.
  add({{.x_mm = x_mm - 17.0, .y_mm = y_mm - 11.0, .half_width_mm = 8.0, .half_height_mm = 5.5}, {44.0, 6.0}});
}

void TorsoPainter::spine() {
  const double y_mm = 0.6 * cavity_height_;
  const Material marrow{random_.varying(215.0, 300.0), 4.0}, cortex{random_.varying(520.0, 800.0), 25.0};
  const double width_mm = random_.varying(18.0, 22.0), height_mm = random_.varying(14.0, 17.0);
  const auto bone = [&](double x, double y, double width, double height, double turn) {
    WavyEllipse ellipse{.x_mm = x, .y_mm = y_mm + y, .half_width_mm = width, .half_height_mm = height, .turn = turn};
    add({ellipse, cortex});
    ellipse.half_width_mm -= 2.4;
    ellipse.half_height_mm -= 2.4;
    add({ellipse, marrow});
  };
  bone(0.0, 35.0, 5.0, 11.0, 0.0);  // spinous process
  for (const double side : {-1.0, 1.0}) {
    bone(side * 25.0, 20.0, 17.0, 5.0, 0.35 * side);  // transverse process
    bone(side * 13.0, 19.0, 4.6, 11.0, -0.3 * side);  // pedicle
  }
  bone(0.0, 27.0, 14.0, 5.0, 0.0);  // arch
  bone(0.0, 0.0, width_mm, height_mm, 0.0);
  const WavyEllipse canal{.y_mm = y_mm + 20.0, .half_width_mm = 9.5, .half_height_mm = 7.5};
  const WavyEllipse cord{.y_mm = y_mm + 20.0, .half_width_mm = 5.0, .half_height_mm = 4.0};
  add({canal, {random_.fixed(8.0, 18.0), 0.0}});
  add({cord, {36.0, 0.0}});
}

void TorsoPainter::ribs(double side) {
  constexpr int kRibsPerSide = 7;
  // Ribs slope, so an axial scan meets each one farther to the front from slice to slice.
  const double slope = random_.varying(-0.2, 0.2);
  const double width = 0.5 * (wall_width_ + cavity_width_) - 2.0, height = 0.5 * (wall_height_ + cavity_height_) - 1.5;
  const double front = 0.75 - 0.35 * level_;  // the arch of the ribs opens towards the abdomen
  for (int i = 0; i < kRibsPerSide; ++i) {
    const double share = (i + 0.5 + slope + random_.varying(-0.18, 0.18)) / kRibsPerSide;
    const double angle = kPi * (0.4 - (0.4 + 0.5 * front) * share);  // from the side, positive to the back
    WavyEllipse rib{.x_mm = side * width * std::cos(angle),
                    .y_mm = height * std::sin(angle),
                    .half_width_mm = random_.varying(8.0, 15.0),
                    .half_height_mm = random_.varying(3.8, 5.4),
                    .turn = std::atan2(height * std::cos(angle), -side * width * std::sin(angle))};
    add({rib, {random_.fixed(450.0, 750.0), 20.0}});
    rib.half_width_mm -= 2.5;
    rib.half_height_mm -= 2.0;
    add({rib, {random_.fixed(215.0, 270.0), 4.0}});
  }
}

void TorsoPainter::sternum() {
  const double size = 1.0 - rise(0.4, 0.6, level_);
  WavyEllipse bone{.y_mm = -0.5 * (wall_height_ + cavity_height_) + 1.5,
                   .half_width_mm = size * random_.varying(15.0, 21.0),
                   .half_height_mm = size * 6.5};
  add({bone, {480.0, 15.0}});
  bone.half_width_mm -= 2.5;
  bone.half_height_mm -= 2.2;
  add({bone, {225.0, 4.0}});
}

}  // namespace

TorsoSlice make_torso_slice(std::uint64_t seed, std::int64_t patient, std::int64_t slice) {
  return TorsoPainter(seed, patient, slice).paint();
}

}  // namespace leda::ct
