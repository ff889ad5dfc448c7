"""Images, tables, time series and text as tensors."""

import io

import numpy as np
import torch

torch.set_printoptions(edgeitems=2, threshold=50, linewidth=75)

# an image, and a batch of images
rng = np.random.RandomState(0)
img_arr = rng.randint(0, 256, (6, 8, 3)).astype(np.uint8)
img = torch.from_numpy(img_arr)
out = img.permute(2, 0, 1)
print(out.shape, out.dtype, out[0, :2, :3])
batch_size = 3
batch = torch.zeros(batch_size, 3, 6, 8, dtype=torch.uint8)
for i in range(batch_size):
    img_t = torch.from_numpy(np.roll(img_arr, i, 0)).permute(2, 0, 1)[:3]
    batch[i] = img_t
batch = batch.float()
batch /= 255.0
n_channels = batch.shape[1]
for c in range(n_channels):
    mean = torch.mean(batch[:, c])
    std = torch.std(batch[:, c])
    print(f"{mean:.4f} {std:.4f}")
    batch[:, c] = (batch[:, c] - mean) / std
print(batch.mean().abs() < 1e-6, batch[0, 0])

# volumes
vol = torch.from_numpy(rng.rand(4, 5, 5)).float()
vol = torch.unsqueeze(vol, 0)
print(vol.shape)

# a table
columns = ["acidity", "sugar", "density", "alcohol", "quality"]
rows = np.round(rng.rand(40, 5) * [5, 10, 1, 14, 6] + [4, 0, 0.9, 0, 3], 2)
rows[:, 4] = np.floor(rows[:, 4])
text = ";".join(columns) + "\n"
text += "\n".join(";".join(f"{v:g}" for v in row) for row in rows)
wineq_numpy = np.loadtxt(io.StringIO(text), dtype=np.float32, delimiter=";", skiprows=1)
wineq = torch.from_numpy(wineq_numpy)
print(wineq.shape, wineq.dtype)
data = wineq[:, :-1]
target = wineq[:, -1]
print(data[:3], data.shape, target[:5], target.shape)
target = wineq[:, -1].long()
print(target)
target_onehot = torch.zeros(target.shape[0], 10)
print(target_onehot.scatter_(1, target.unsqueeze(1), 1.0)[:3])
target_unsqueezed = target.unsqueeze(1)
print(target_unsqueezed[:3])
data_mean = torch.mean(data, dim=0)
data_var = torch.var(data, dim=0)
print(data_mean, data_var)
data_normalized = (data - data_mean) / torch.sqrt(data_var)
print(data_normalized[:2])
bad_indexes = target <= 3
print(bad_indexes.shape, bad_indexes.dtype, bad_indexes.sum())
bad_data = data[bad_indexes]
print(bad_data.shape)
bad_data = data[target <= 3]
mid_data = data[(target > 3) & (target < 7)]
good_data = data[target >= 7]
bad_mean = torch.mean(bad_data, dim=0)
mid_mean = torch.mean(mid_data, dim=0)
good_mean = torch.mean(good_data, dim=0)
for i, args in enumerate(zip(columns, bad_mean, mid_mean, good_mean)):
    print("{:2} {:20} {:6.2f} {:6.2f} {:6.2f}".format(i, *args))
total_sulfur_threshold = 5.0
total_sulfur_data = data[:, 1]
predicted_indexes = torch.lt(total_sulfur_data, total_sulfur_threshold)
print(predicted_indexes.shape, predicted_indexes.dtype, predicted_indexes.sum())
actual_indexes = target > 5
n_matches = torch.sum(actual_indexes & predicted_indexes).item()
n_predicted = torch.sum(predicted_indexes).item()
n_actual = torch.sum(actual_indexes).item()
print(n_matches, n_matches / n_predicted, n_matches / n_actual)
print(torch.le(target, 4).sum(), torch.gt(target, 4).sum(), torch.ge(target, 4).sum())

# a time series: days of 24 hours
bikes = torch.from_numpy(
    np.stack(
        [
            np.arange(24 * 5) % 24,
            np.arange(24 * 5) // 24,
            rng.randint(1, 5, 24 * 5),
            np.round(rng.rand(24 * 5), 2),
            rng.randint(0, 900, 24 * 5),
        ],
        1,
    ).astype(np.float32)
)
print(bikes.shape, bikes.stride())
daily_bikes = bikes.view(-1, 24, bikes.shape[1])
print(daily_bikes.shape, daily_bikes.stride())
daily_bikes = daily_bikes.transpose(1, 2)
print(daily_bikes.shape, daily_bikes.stride())
first_day = bikes[:24].long()
weather_onehot = torch.zeros(first_day.shape[0], 4)
print(first_day[:, 2])
weather_onehot.scatter_(dim=1, index=first_day[:, 2].unsqueeze(1).long() - 1, value=1.0)
print(torch.cat((bikes[:24], weather_onehot), 1)[:1])
daily_weather_onehot = torch.zeros(daily_bikes.shape[0], 4, daily_bikes.shape[2])
daily_weather_onehot.scatter_(1, daily_bikes[:, 2, :].long().unsqueeze(1) - 1, 1.0)
print(daily_weather_onehot.shape, daily_weather_onehot.sum(1).unique())
daily_bikes = torch.cat((daily_bikes, daily_weather_onehot), dim=1)
daily_bikes[:, 2, :] = (daily_bikes[:, 2, :] - 1.0) / 3.0
temp = daily_bikes[:, 3, :]
temp_min = torch.min(temp)
temp_max = torch.max(temp)
daily_bikes[:, 3, :] = (daily_bikes[:, 3, :] - temp_min) / (temp_max - temp_min)
temp = daily_bikes[:, 4, :]
daily_bikes[:, 4, :] = (daily_bikes[:, 4, :] - torch.mean(temp)) / torch.std(temp)
print(daily_bikes[0, :5, :4])

# text, one-hot
line = "Impossible, Mr. Bennet, impossible"
letter_t = torch.zeros(len(line), 128)
for i, letter in enumerate(line.lower().strip()):
    letter_index = ord(letter) if ord(letter) < 128 else 0
    letter_t[i][letter_index] = 1
print(letter_t.shape, letter_t.sum(), letter_t.argmax(1)[:10])
words = sorted(set(line.lower().replace(",", "").split()))
word2index = {word: i for i, word in enumerate(words)}
word_t = torch.zeros(len(words), len(word2index))
for i, word in enumerate(words):
    word_t[i][word2index[word]] = 1
print(word_t)
values, indices = torch.sort(torch.tensor([3.0, 1.0, 2.0]), descending=True)
print(values, indices, torch.topk(torch.tensor([1, 5, 3]), 2))
print(torch.cumsum(torch.arange(5), 0), torch.bincount(target))
