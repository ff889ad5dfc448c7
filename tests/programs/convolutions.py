"""Convolutional networks on small images."""

import datetime
import io

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

torch.set_printoptions(edgeitems=2, linewidth=75)


def known(module):
    """Give all parameters values that do not depend on a random generator."""
    with torch.no_grad():
        for k, p in enumerate(module.parameters()):
            steps = torch.arange(p.numel(), dtype=torch.float32)
            p.copy_((torch.sin(steps * 1.7 + k) * 0.2).view(p.shape))
    return module


conv = nn.Conv2d(3, 16, kernel_size=3)
print(conv, conv.weight.shape, conv.bias.shape)
img = torch.sin(torch.arange(3 * 32 * 32, dtype=torch.float32)).view(3, 32, 32)
known(conv)
output = conv(img.unsqueeze(0))
print(img.unsqueeze(0).shape, output.shape)
print(output[0, 0, :2, :3])
conv = nn.Conv2d(3, 1, kernel_size=3, padding=1)
output = conv(img.unsqueeze(0))
print(img.unsqueeze(0).shape, output.shape)
with torch.no_grad():
    conv.bias.zero_()
with torch.no_grad():
    conv.weight.fill_(1.0 / 9.0)
print(conv(img.unsqueeze(0))[0, 0, :2, :3])
conv = nn.Conv2d(3, 1, kernel_size=3, padding=1)
with torch.no_grad():
    conv.weight[:] = torch.tensor(
        [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]
    )
    conv.bias.zero_()
print(conv(img.unsqueeze(0))[0, 0, :2, :3])
pool = nn.MaxPool2d(2)
print(pool, pool(img.unsqueeze(0)).shape, pool(img.unsqueeze(0))[0, 0, 0, :3])

model = nn.Sequential(
    nn.Conv2d(3, 16, kernel_size=3, padding=1),
    nn.Tanh(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 8, kernel_size=3, padding=1),
    nn.Tanh(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(8 * 8 * 8, 32),
    nn.Tanh(),
    nn.Linear(32, 2),
)
numel_list = [p.numel() for p in model.parameters()]
print(model, sum(numel_list), numel_list)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(4 * 4 * 4, 8)
        self.fc2 = nn.Linear(8, 2)

    def forward(self, x):
        out = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        out = F.max_pool2d(torch.tanh(self.conv2(out)), 2)
        out = out.view(-1, 4 * 4 * 4)
        out = torch.tanh(self.fc1(out))
        return self.fc2(out)


images = torch.sin(torch.arange(20 * 3 * 16 * 16, dtype=torch.float64) ** 1.3)
images = images.float().view(20, 3, 16, 16)
labels = (torch.arange(20) % 2).long()
images[labels == 1] += 0.3


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return len(images)

    def __getitem__(self, i):
        return images[i], int(labels[i])


def training_loop(n_epochs, optimizer, model, loss_fn, train_loader):
    for epoch in range(1, n_epochs + 1):
        loss_train = 0.0
        for imgs, labels in train_loader:
            outputs = model(imgs)
            loss = loss_fn(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_train += loss.item()
        if epoch == 1 or epoch % 5 == 0:
            when = isinstance(datetime.datetime.now(), datetime.datetime)
            print(
                f"{when} Epoch {epoch}, "
                f"Training loss {loss_train / len(train_loader):.4f}"
            )


def validate(model, loader):
    correct = 0
    total = 0
    with torch.no_grad():
        for imgs, labels in loader:
            outputs = model(imgs)
            _, predicted = torch.max(outputs, dim=1)
            total += labels.shape[0]
            correct += int((predicted == labels).sum())
    print("Accuracy {:.2f}".format(correct / total))


train_loader = torch.utils.data.DataLoader(Pairs(), batch_size=5, shuffle=False)
model = known(Net())
print(model)
optimizer = optim.SGD(model.parameters(), lr=1e-1)
training_loop(10, optimizer, model, nn.CrossEntropyLoss(), train_loader)
validate(model, train_loader)
file = io.BytesIO()
torch.save(model.state_dict(), file)
file.seek(0)
loaded_model = Net()
print(loaded_model.load_state_dict(torch.load(file, weights_only=True)))
print(torch.equal(loaded_model(images), model(images)))
device = (
    torch.device("cuda") if torch.cuda.is_available() and False else torch.device("cpu")
)
print(
    f"Training on device {device}.", next(model.to(device=device).parameters()).device
)
l2_norm = sum(p.pow(2.0).sum() for p in model.parameters())
print(f"{l2_norm.item():.4f}")


class ResBlock(nn.Module):
    def __init__(self, n_chans):
        super().__init__()
        self.conv = nn.Conv2d(n_chans, n_chans, kernel_size=3, padding=1, bias=False)
        self.batch_norm = nn.BatchNorm2d(num_features=n_chans)
        torch.nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        torch.nn.init.constant_(self.batch_norm.weight, 0.5)
        torch.nn.init.zeros_(self.batch_norm.bias)

    def forward(self, x):
        out = self.conv(x)
        out = self.batch_norm(out)
        out = torch.relu(out)
        return out + x


class NetResDeep(nn.Module):
    def __init__(self, n_chans1=4, n_blocks=2):
        super().__init__()
        self.n_chans1 = n_chans1
        self.conv1 = nn.Conv2d(3, n_chans1, kernel_size=3, padding=1)
        self.conv1_dropout = nn.Dropout2d(p=0.4)
        self.resblocks = nn.Sequential(*(n_blocks * [ResBlock(n_chans=n_chans1)]))
        self.fc1 = nn.Linear(4 * 4 * n_chans1, 8)
        self.fc2 = nn.Linear(8, 2)

    def forward(self, x):
        out = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        out = self.conv1_dropout(out)
        out = self.resblocks(out)
        out = F.max_pool2d(out, 2)
        out = out.view(-1, 4 * 4 * self.n_chans1)
        out = torch.relu(self.fc1(out))
        return self.fc2(out)


model = known(NetResDeep())
print(model)
model.eval()
print(model(images[:2]))
model.train()
model.conv1_dropout.p = 0.0
out = model(images)
print(out[:2], model.resblocks[0].batch_norm.running_mean)
nn.CrossEntropyLoss()(out, labels).backward()
print(model.conv1.weight.grad[0, 0], model.resblocks[0].conv.weight.grad[0, 0])
print(model.resblocks[0].batch_norm.num_batches_tracked)
